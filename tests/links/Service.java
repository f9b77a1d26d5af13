import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/**
 * A Java service whose requests call the leaf. Paths are /keep|close/PATTERN/item/NUMBER; the argument says how: "pool"
 * (a pool of threads and blocking calls), "virtual" (the same, each request and each parallel call on a virtual thread of
 * its own: Java 21 on), "client" (java.net.http.HttpClient, whose own threads write).
 */
public final class Service {
    private static final String LEAF = "http://127.0.0.1:" + System.getenv("LEAF_PORT");
    private static final List<String> PARALLEL = List.of("/stock", "/price", "/review");
    private static ExecutorService calls = Executors.newFixedThreadPool(32);

    private interface Caller {
        int call(boolean keep, String path) throws Exception;
    }

    private static int blocking(boolean keep, String path) throws IOException {
        HttpURLConnection connection = (HttpURLConnection) URI.create(LEAF + path).toURL().openConnection();
        if (!keep) {
            connection.setRequestProperty("Connection", "close");
        }
        int status = connection.getResponseCode();
        InputStream body = status < 400 ? connection.getInputStream() : connection.getErrorStream();
        if (body != null) {
            body.readAllBytes();
            body.close();
        }
        return status;
    }

    private static void work(Caller caller, String path) throws Exception {
        String[] parts = path.split("/", 4);
        boolean keep = parts[1].equals("keep");
        String item = "/" + parts[3];
        switch (parts[2]) {
            case "sequence" -> {
                caller.call(keep, "/stock" + item);
                caller.call(keep, "/price" + item);
            }
            case "parallel" -> {
                List<Future<Integer>> open = new ArrayList<>();
                for (String what : PARALLEL) {
                    open.add(calls.submit(() -> caller.call(keep, what + item)));
                }
                for (Future<Integer> one : open) {
                    one.get();
                }
            }
            case "retry" -> {
                if (caller.call(keep, "/flaky" + item) != 200) {
                    caller.call(keep, "/flaky" + item);
                }
            }
            default -> throw new IllegalArgumentException(path);
        }
    }

    private static void handle(Caller caller, HttpExchange exchange) throws IOException {
        try (exchange) {
            work(caller, exchange.getRequestURI().getPath());
            byte[] body = "done\n".getBytes(StandardCharsets.UTF_8);
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
        } catch (IOException error) {
            throw error;
        } catch (Exception error) {
            throw new IOException(error);
        }
    }

    /** By its name, as compilers before Java 21 do not know it. */
    private static ExecutorService virtualThreads() throws ReflectiveOperationException {
        return (ExecutorService) Executors.class.getMethod("newVirtualThreadPerTaskExecutor").invoke(null);
    }

    public static void main(String[] arguments) throws Exception {
        ExecutorService requests = Executors.newFixedThreadPool(32);
        if (arguments[0].equals("virtual")) {
            requests = virtualThreads();
            calls = requests;
        }
        Caller caller = Service::blocking;
        if (arguments[0].equals("client")) {
            HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
            caller = (keep, path) -> client
                    .send(HttpRequest.newBuilder(URI.create(LEAF + path)).build(), HttpResponse.BodyHandlers.ofString())
                    .statusCode();
        }
        Caller chosen = caller;
        int port = Integer.parseInt(System.getenv("PORT"));
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 256);
        server.setExecutor(requests);
        server.createContext("/", exchange -> handle(chosen, exchange));
        server.start();
        if (System.getenv("BACKGROUND") != null) {
            Executors.newSingleThreadScheduledExecutor().scheduleAtFixedRate(() -> {
                try {
                    chosen.call(true, "/tick");
                } catch (Exception error) {
                    error.printStackTrace();
                }
            }, 20, 20, java.util.concurrent.TimeUnit.MILLISECONDS);
        }
    }
}

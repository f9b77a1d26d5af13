import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpTimeoutException;
import java.time.Duration;
import java.util.concurrent.Executors;

/** The shop's checkout: asks for the cart, has it paid, orders it, empties the cart. */
public final class Checkout {
    private static final HttpClient CLIENT =
            HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).connectTimeout(Duration.ofSeconds(2)).build();

    private record Answer(int status, String body) {}

    public static void main(String[] arguments) throws IOException {
        int port = Integer.parseInt(System.getenv("PORT"));
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 64);
        server.setExecutor(Executors.newFixedThreadPool(16));
        server.createContext("/checkout/", Checkout::handle);
        server.start();
    }

    private static void handle(HttpExchange exchange) throws IOException {
        String path = exchange.getRequestURI().getPath();
        Answer answer;
        try {
            answer = checkout(path.substring("/checkout/".length()));
        } catch (HttpTimeoutException timeout) {
            answer = new Answer(504, "{\"error\":\"the payment took too long\"}");
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
            answer = new Answer(503, "{\"error\":\"stopping\"}");
        }
        byte[] body = answer.body().getBytes();
        exchange.getRequestBody().readAllBytes();
        exchange.getResponseHeaders().set("content-type", "application/json");
        exchange.sendResponseHeaders(answer.status(), body.length);
        exchange.getResponseBody().write(body);
        exchange.close();
    }

    private static Answer checkout(String user) throws IOException, InterruptedException {
        Answer cart = call("GET", System.getenv("CART") + "/cart/" + user, "", 5);
        if (cart.status() != 200) {
            return cart;
        }
        Answer paid = call("POST", System.getenv("PAYMENT") + "/payments", cart.body(), 4);
        if (paid.status() != 200) {
            return paid;
        }
        Answer ordered = call("POST", System.getenv("ORDERS") + "/orders", cart.body(), 5);
        if (ordered.status() == 201) {
            call("DELETE", System.getenv("CART") + "/cart/" + user, "", 5);
        }
        return ordered;
    }

    private static Answer call(String method, String address, String body, int seconds)
            throws IOException, InterruptedException {
        HttpRequest.BodyPublisher publisher =
                body.isEmpty() ? HttpRequest.BodyPublishers.noBody() : HttpRequest.BodyPublishers.ofString(body);
        HttpRequest request = HttpRequest.newBuilder(URI.create(address))
                .method(method, publisher)
                .timeout(Duration.ofSeconds(seconds))
                .build();
        HttpResponse<String> response = CLIENT.send(request, HttpResponse.BodyHandlers.ofString());
        return new Answer(response.statusCode(), response.body());
    }
}

// A C++ service with a queue: one thread reads requests and queues them, others take them from the queue, call the leaf and
// answer. Paths are /keep|close/PATTERN/item/NUMBER.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace {

struct Request {
    int socket;
    std::string path;
    bool close;
};

std::mutex mutex;
std::condition_variable ready;
std::deque<Request> queue;
// Connections that were answered: the reader waits for their next request.
std::vector<int> answered;
int wake[2];

sockaddr_in local(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

int port_of(const char *name) {
    const char *text = getenv(name);
    return text ? atoi(text) : 0;
}

bool send_all(int socket, const std::string &text) {
    return send(socket, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
}

int connect_leaf() {
    int socket = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = local(port_of("LEAF_PORT"));
    connect(socket, reinterpret_cast<sockaddr *>(&address), sizeof address);
    int on = 1;
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return socket;
}

// Status of the answer; the leaf's answers have a known length and are short.
int call(bool keep, int &kept, const std::string &path) {
    if (kept < 0) kept = connect_leaf();
    std::string text = "GET " + path + " HTTP/1.1\r\nHost: leaf\r\n" + (keep ? "" : "Connection: close\r\n") + "\r\n";
    send_all(kept, text);
    std::string answer;
    char bytes[4096];
    size_t end;
    while ((end = answer.find("\r\n\r\n")) == std::string::npos) {
        ssize_t got = recv(kept, bytes, sizeof bytes, 0);
        if (got <= 0) break;
        answer.append(bytes, static_cast<size_t>(got));
    }
    size_t at = answer.find("Content-Length: ");
    size_t length = at == std::string::npos ? 0 : static_cast<size_t>(atoi(answer.c_str() + at + 16));
    while (end != std::string::npos && answer.size() < end + 4 + length) {
        ssize_t got = recv(kept, bytes, sizeof bytes, 0);
        if (got <= 0) break;
        answer.append(bytes, static_cast<size_t>(got));
    }
    if (!keep) {
        close(kept);
        kept = -1;
    }
    return answer.size() > 12 ? atoi(answer.c_str() + 9) : 0;
}

void work() {
    int kept = -1;
    for (;;) {
        Request request;
        {
            std::unique_lock lock(mutex);
            ready.wait(lock, [] { return !queue.empty(); });
            request = std::move(queue.front());
            queue.pop_front();
        }
        bool keep = request.path.rfind("/keep/", 0) == 0;
        std::string item = request.path.substr(request.path.find("/item/"));
        int fresh = -1;
        int &leaf = keep ? kept : fresh;
        if (request.path.find("/retry/") != std::string::npos) {
            if (call(keep, leaf, "/flaky" + item) != 200) call(keep, leaf, "/flaky" + item);
        } else {
            call(keep, leaf, "/stock" + item);
            call(keep, leaf, "/price" + item);
        }
        send_all(request.socket, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ndone\n");
        if (request.close) {
            close(request.socket);
        } else {
            std::lock_guard lock(mutex);
            answered.push_back(request.socket);
            if (write(wake[1], "x", 1) < 0) abort();
        }
    }
}

}  // namespace

int main() {
    signal(SIGPIPE, SIG_IGN);
    if (pipe(wake) != 0) return 1;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    int on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address = local(port_of("PORT"));
    if (bind(listener, reinterpret_cast<sockaddr *>(&address), sizeof address) != 0 || listen(listener, 512) != 0) return 1;
    for (int n = 0; n < 16; ++n) std::thread(work).detach();
    std::map<int, std::string> open;
    for (;;) {
        std::vector<pollfd> polled{{listener, POLLIN, 0}, {wake[0], POLLIN, 0}};
        for (auto &[socket, bytes] : open) polled.push_back({socket, POLLIN, 0});
        poll(polled.data(), polled.size(), -1);
        if (polled[0].revents) {
            int socket = accept(listener, nullptr, nullptr);
            if (socket >= 0) open[socket];
        }
        if (polled[1].revents) {
            char bytes[64];
            if (read(wake[0], bytes, sizeof bytes) < 0) return 1;
            std::lock_guard lock(mutex);
            for (int socket : answered) open[socket];
            answered.clear();
        }
        for (size_t n = 2; n < polled.size(); ++n) {
            if (!polled[n].revents) continue;
            int socket = polled[n].fd;
            char bytes[4096];
            ssize_t got = recv(socket, bytes, sizeof bytes, 0);
            if (got <= 0) {
                close(socket);
                open.erase(socket);
                continue;
            }
            std::string &text = open[socket];
            text.append(bytes, static_cast<size_t>(got));
            if (text.find("\r\n\r\n") == std::string::npos) continue;
            size_t from = text.find(' ') + 1;
            std::string path = text.substr(from, text.find(' ', from) - from);
            bool ends = text.find("onnection: close") != std::string::npos || text.find("onnection: Close") != std::string::npos;
            open.erase(socket);
            std::lock_guard lock(mutex);
            queue.push_back({socket, path, ends});
            ready.notify_one();
        }
    }
}

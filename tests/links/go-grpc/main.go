// Services that speak gRPC, with grpc-go as Debian packages it (1.33, built without modules) or newer. One program, three parts:
//
//	front  answers HTTP; its requests call what stands behind it
//	middle answers gRPC; its requests call what stands behind it
//	leaf   answers gRPC after a short time that differs from call to call, and refuses a call to /flaky/ once for each item
//
// Paths of front are /keep|close/PATTERN/item/NUMBER, with pass for a pattern where the middle is to make the calls; methods
// of middle are /PATTERN/item/NUMBER. Nothing is in the messages.
package main

import (
	"context"
	"log"
	"math/rand"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const longest = 6 * time.Millisecond

// Fewer than are asked for at once, so that some wait for their turn.
const streamsAtOnce = 16

// What failed is tried again by grpc-go itself.
const retries = `{"methodConfig": [{"name": [{"service": "flaky/item"}], "retryPolicy": {"maxAttempts": 2,
	"initialBackoff": "0.001s", "maxBackoff": "0.001s", "backoffMultiplier": 1, "retryableStatusCodes": ["UNAVAILABLE"]}}]}`

// plain passes bytes as they are.
type plain struct{}

func (plain) Name() string   { return "plain" }
func (plain) String() string { return "plain" }
func (plain) Marshal(message interface{}) ([]byte, error) {
	return *message.(*[]byte), nil
}
func (plain) Unmarshal(bytes []byte, message interface{}) error {
	*message.(*[]byte) = append([]byte(nil), bytes...)
	return nil
}

func dial() *grpc.ClientConn {
	connection, err := grpc.Dial(os.Getenv("BEHIND"), grpc.WithInsecure(), grpc.WithDefaultServiceConfig(retries),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(plain{})))
	if err != nil {
		log.Fatal(err)
	}
	return connection
}

func call(connection *grpc.ClientConn, method string) {
	request, response := []byte("?"), []byte{}
	if err := connection.Invoke(context.Background(), method, &request, &response); err != nil {
		log.Print(method, ": ", err)
	}
}

// stream sends three messages, each after the answer to the one before; meanwhile is called in between.
func stream(connection *grpc.ClientConn, method string, meanwhile func()) {
	both := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	stream, err := connection.NewStream(context.Background(), both, method)
	if err != nil {
		log.Print(method, ": ", err)
		return
	}
	for round := 0; round < 3; round++ {
		request, response := []byte("?"), []byte{}
		if stream.SendMsg(&request) != nil || stream.RecvMsg(&response) != nil {
			break
		}
		if round == 1 {
			meanwhile()
		}
	}
	_ = stream.CloseSend()
	_ = stream.RecvMsg(&[]byte{})
}

// cancel asks and does not wait.
func cancel(connection *grpc.ClientConn, method string) {
	cancelled, cancel := context.WithCancel(context.Background())
	if _, err := connection.NewStream(cancelled, &grpc.StreamDesc{ServerStreams: true}, method); err != nil {
		log.Print(method, ": ", err)
	}
	cancel()
}

func work(connection *grpc.ClientConn, pattern string, item string) {
	switch pattern {
	case "sequence":
		call(connection, "/stock"+item)
		call(connection, "/price"+item)
	case "parallel":
		var group sync.WaitGroup
		for _, what := range []string{"/stock", "/price", "/review"} {
			group.Add(1)
			go func(what string) {
				defer group.Done()
				call(connection, what+item)
			}(what)
		}
		group.Wait()
	case "retry":
		call(connection, "/flaky"+item)
	case "stream":
		stream(connection, "/watch"+item, func() { call(connection, "/stock"+item) })
	case "cancel":
		cancel(connection, "/review"+item)
		call(connection, "/stock"+item)
	}
}

func front() {
	kept := dial()
	pass := os.Getenv("PASS") != ""
	serve := func(w http.ResponseWriter, r *http.Request) {
		parts := strings.Split(r.URL.Path, "/")
		if len(parts) != 5 {
			http.NotFound(w, r)
			return
		}
		connection := kept
		if parts[1] == "close" {
			connection = dial()
			defer connection.Close()
		}
		pattern, item := parts[2], "/item/"+parts[4]
		if pass {
			call(connection, "/"+pattern+item)
		} else {
			work(connection, pattern, item)
		}
		_, _ = w.Write([]byte("done\n"))
	}
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), http.HandlerFunc(serve)))
}

func serveStreams(limit uint32, handle func(method string, stream grpc.ServerStream) error) {
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer(grpc.CustomCodec(plain{}), grpc.MaxConcurrentStreams(limit),
		grpc.UnknownServiceHandler(func(_ interface{}, stream grpc.ServerStream) error {
			method, _ := grpc.MethodFromServerStream(stream)
			return handle(method, stream)
		}))
	log.Fatal(server.Serve(listener))
}

func middle() {
	kept := dial()
	serveStreams(1000, func(method string, stream grpc.ServerStream) error {
		message := []byte{}
		if err := stream.RecvMsg(&message); err != nil {
			return err
		}
		parts := strings.Split(method, "/")
		work(kept, parts[1], "/item/"+parts[3])
		return stream.SendMsg(&message)
	})
}

func leaf() {
	var refused sync.Map
	serveStreams(streamsAtOnce, func(method string, stream grpc.ServerStream) error {
		message := []byte{}
		for stream.RecvMsg(&message) == nil {
			time.Sleep(time.Duration(rand.Int63n(int64(longest))))
			if strings.HasPrefix(method, "/flaky/") {
				if _, before := refused.LoadOrStore(method, true); !before {
					return status.Error(codes.Unavailable, "not yet")
				}
			}
			if err := stream.SendMsg(&message); err != nil {
				return err
			}
		}
		return nil
	})
}

func main() {
	map[string]func(){"front": front, "middle": middle, "leaf": leaf}[os.Args[1]]()
}

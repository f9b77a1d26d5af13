// A Go service whose requests call the leaf: one call after the other, in parallel goroutines, with a retry.
// Paths are /keep|close/PATTERN/item/NUMBER.
package main

import (
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

var (
	leaf    = "http://" + os.Getenv("LEAF_HOST") + ":" + os.Getenv("LEAF_PORT")
	clients = map[string]*http.Client{
		"keep":  {Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
		"close": {Transport: &http.Transport{DisableKeepAlives: true}},
	}
)

func call(client *http.Client, path string) int {
	answer, err := client.Get(leaf + path)
	if err != nil {
		log.Print(err)
		return 0
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		log.Print(err)
	}
	return answer.StatusCode
}

func serve(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(r.URL.Path, "/")
	if len(parts) != 5 {
		http.NotFound(w, r)
		return
	}
	client, pattern, item := clients[parts[1]], parts[2], "/item/"+parts[4]
	switch pattern {
	case "sequence":
		call(client, "/stock"+item)
		call(client, "/price"+item)
	case "parallel":
		var group sync.WaitGroup
		for _, what := range []string{"/stock", "/price", "/review"} {
			group.Add(1)
			go func() {
				defer group.Done()
				call(client, what+item)
			}()
		}
		group.Wait()
	case "retry":
		if call(client, "/flaky"+item) != http.StatusOK {
			call(client, "/flaky"+item)
		}
	}
	_, _ = w.Write([]byte("done\n"))
}

func main() {
	if os.Getenv("BACKGROUND") != "" {
		go func() {
			for range time.Tick(20 * time.Millisecond) {
				call(clients["keep"], "/tick")
			}
		}()
	}
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), http.HandlerFunc(serve)))
}

// The leaf: answers every call after a short time that differs from call to call, so that calls of many requests
// interleave. A call to /flaky/ is refused once for each item.
package main

import (
	"log"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

const longest = 6 * time.Millisecond

var refused sync.Map

func answer(w http.ResponseWriter, r *http.Request) {
	time.Sleep(rand.N(longest))
	if strings.HasPrefix(r.URL.Path, "/flaky/") {
		if _, before := refused.LoadOrStore(r.URL.Path, true); !before {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
	}
	if _, err := w.Write([]byte("leaf\n")); err != nil {
		log.Print(err)
	}
}

func main() {
	log.Fatal(http.ListenAndServe(os.Getenv("HOST")+":"+os.Getenv("PORT"), http.HandlerFunc(answer)))
}

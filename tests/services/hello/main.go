// The smallest server of Go's net/http, for the benches: 1 KiB for every request.
package main

import (
	"bytes"
	"log"
	"net/http"
	"os"
)

func main() {
	body := bytes.Repeat([]byte("x"), 1024)
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("content-type", "text/plain")
		w.Write(body)
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}

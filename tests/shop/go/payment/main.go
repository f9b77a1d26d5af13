// The shop's payments: mostly quick, now and then slow, sometimes refused or broken.
package main

import (
	"fmt"
	"io"
	"log"
	"math/rand"
	"net/http"
	"os"
	"time"
)

func main() {
	http.HandleFunc("POST /payments", func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("content-type", "application/json")
		switch chance := rand.Float64(); {
		case chance < 0.04:
			http.Error(w, `{"error":"the bank does not answer"}`, http.StatusInternalServerError)
		case chance < 0.07:
			http.Error(w, `{"error":"card refused"}`, http.StatusPaymentRequired)
		case chance < 0.14:
			time.Sleep(time.Duration(1000+rand.Intn(5000)) * time.Millisecond)
			fmt.Fprint(w, `{"paid":true}`)
		default:
			time.Sleep(time.Duration(2+rand.Intn(30)) * time.Millisecond)
			fmt.Fprint(w, `{"paid":true}`)
		}
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}

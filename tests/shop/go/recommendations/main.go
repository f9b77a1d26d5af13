// The shop's recommendations: asks the catalog for three prices at once.
package main

import (
	"encoding/json"
	"log"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

type offer struct {
	ID    int     `json:"id"`
	Price float64 `json:"price"`
}

var client = &http.Client{
	Timeout:   5 * time.Second,
	Transport: &http.Transport{MaxIdleConnsPerHost: 16},
}

func price(product int) (offer, error) {
	var found offer
	answer, err := client.Get(os.Getenv("CATALOG") + "/prices/" + strconv.Itoa(product))
	if err != nil {
		return found, err
	}
	defer answer.Body.Close()
	return found, json.NewDecoder(answer.Body).Decode(&found)
}

func main() {
	http.HandleFunc("GET /recommendations/{product}", func(w http.ResponseWriter, r *http.Request) {
		product, err := strconv.Atoi(r.PathValue("product"))
		if err != nil {
			http.Error(w, "not a product", http.StatusBadRequest)
			return
		}
		var wait sync.WaitGroup
		offers := make([]offer, 3)
		for i := range offers {
			wait.Add(1)
			go func() {
				defer wait.Done()
				offers[i], _ = price((product+7*(i+1))%200 + 1)
			}()
		}
		wait.Wait()
		w.Header().Set("content-type", "application/json")
		json.NewEncoder(w).Encode(offers)
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}

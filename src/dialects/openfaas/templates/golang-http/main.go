package main

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	handler "github.com/openfaas/templates-sdk/go-http"
	"handler/function"
)

const (
	defaultPort  = "8082"
	drainTimeout = 10 * time.Second
)

func main() {
	server := &http.Server{
		Addr:           ":" + setting("http_port", defaultPort),
		Handler:        http.HandlerFunc(call),
		MaxHeaderBytes: 1 << 20,
		// How long a call may take, the watchdog says. It keeps its connections: one closed from this side while it is taken up again would fail a call.
		IdleTimeout: time.Hour,
	}

	stop, release := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer release()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		<-stop.Done()
		drain, cancel := context.WithTimeout(context.Background(), drainTimeout)
		defer cancel()
		if err := server.Shutdown(drain); err != nil {
			log.Printf("Not all calls ended: %s", err)
		}
	}()

	log.Printf("Listening on %s", server.Addr)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	<-ended
}

func call(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}

	request := handler.Request{
		Body:        body,
		Header:      r.Header,
		QueryString: r.URL.RawQuery,
		Method:      r.Method,
		Host:        r.Host,
	}
	request.WithContext(r.Context())

	response, err := function.Handle(request)
	for name, values := range response.Header {
		w.Header()[http.CanonicalHeaderKey(name)] = values
	}

	status := response.StatusCode
	if status == 0 && err == nil {
		status = http.StatusOK
	} else if status == 0 {
		status = http.StatusInternalServerError
	}
	answer := response.Body
	if err != nil {
		log.Print(err)
		if len(answer) == 0 {
			answer = []byte(err.Error())
		}
	}

	w.WriteHeader(status)
	if _, err := w.Write(answer); err != nil {
		log.Print(err)
	}
}

func setting(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return fallback
}

package main

import (
	"context"
	"errors"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"handler/function"
)

const (
	defaultPort  = "8082"
	drainTimeout = 10 * time.Second
)

func main() {
	server := &http.Server{
		Addr:           ":" + setting("http_port", defaultPort),
		Handler:        http.HandlerFunc(function.Handle),
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

func setting(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return fallback
}

// Command openfaas-provider proxies calls of functions as an OpenFaaS provider does, every function to one upstream:
//
//	openfaas-provider LISTEN UPSTREAM
//
// for instance 127.0.0.1:8081 http://127.0.0.1:8082. It prints the address that it listens on.
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/gorilla/mux"
	"github.com/openfaas/faas-provider/proxy"
	"github.com/openfaas/faas-provider/types"
)

type upstream struct{ url url.URL }

func (u upstream) Resolve(string) (url.URL, error) { return u.url, nil }

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: openfaas-provider LISTEN UPSTREAM")
	}
	to, err := url.Parse(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr())

	const timeout = time.Minute
	call := proxy.NewHandlerFunc(types.FaaSConfig{ReadTimeout: timeout, WriteTimeout: timeout}, upstream{*to}, false)
	router := mux.NewRouter()
	for _, rest := range []string{"", "/", "/{params:.*}"} {
		router.HandleFunc("/function/{name:[-a-zA-Z_0-9.]+}"+rest, call)
	}
	server := http.Server{Handler: router, ReadTimeout: timeout, WriteTimeout: timeout}
	log.Fatal(server.Serve(listener))
}

// Command openfaas-sdk makes one call with OpenFaaS's SDK for Go and prints what it returns, as JSON:
//
//	openfaas-sdk info
//	openfaas-sdk functions NAMESPACE
//	openfaas-sdk namespaces
//	openfaas-sdk scale NAME NAMESPACE REPLICAS
//	openfaas-sdk build CONTEXT IMAGE
//
// GATEWAY, USERNAME and PASSWORD of the environment say where and as whom. build signs with PAYLOAD_SECRET, asks
// the builder at GATEWAY, and prints a line for each result.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	sdk "github.com/openfaas/go-sdk"
	"github.com/openfaas/go-sdk/builder"
)

func main() {
	if err := call(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func call(ctx context.Context, parameters []string) error {
	gateway, err := url.Parse(os.Getenv("GATEWAY"))
	if err != nil {
		return err
	}
	user := &sdk.BasicAuth{Username: os.Getenv("USERNAME"), Password: os.Getenv("PASSWORD")}
	client := sdk.NewClient(gateway, user, http.DefaultClient)

	var command string
	if len(parameters) > 0 {
		command, parameters = parameters[0], parameters[1:]
	}
	switch {
	case command == "info" && len(parameters) == 0:
		return show(client.GetInfo(ctx))
	case command == "functions" && len(parameters) == 1:
		return show(client.GetFunctions(ctx, parameters[0]))
	case command == "namespaces" && len(parameters) == 0:
		return show(client.GetNamespaces(ctx))
	case command == "scale" && len(parameters) == 3:
		replicas, err := strconv.ParseUint(parameters[2], 10, 64)
		if err != nil {
			return err
		}
		return client.ScaleFunction(ctx, parameters[0], parameters[1], replicas)
	case command == "build" && len(parameters) == 2:
		return build(gateway, parameters[0], parameters[1])
	}
	return errors.New("usage: openfaas-sdk info | functions NAMESPACE | namespaces | scale NAME NAMESPACE REPLICAS | build CONTEXT IMAGE")
}

func build(gateway *url.URL, folder, image string) error {
	aside, err := os.MkdirTemp("", "openfaas-sdk-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(aside)
	tar := filepath.Join(aside, "build.tar")
	if err := builder.MakeTar(tar, folder, &builder.BuildConfig{Image: image}); err != nil {
		return err
	}
	secret := builder.WithHmacAuth(os.Getenv("PAYLOAD_SECRET"))
	stream, err := builder.NewFunctionBuilder(gateway, http.DefaultClient, secret).BuildWithStream(tar)
	if err != nil {
		return err
	}
	var status string
	for result, err := range stream.Results() {
		if err := show(result, err); err != nil {
			return err
		}
		status = result.Status
	}
	if status != builder.BuildSuccess {
		return fmt.Errorf("the build ended with status %q", status)
	}
	return nil
}

func show[T any](value T, err error) error {
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(value)
}

// Package handler has the types of a function's request and response.
package handler

import (
	"context"
	"net/http"
)

// Request to a function.
type Request struct {
	Body        []byte
	Header      http.Header
	QueryString string
	Method      string
	Host        string

	ctx context.Context
}

// Context ends when the caller has gone.
func (r *Request) Context() context.Context {
	if r.ctx == nil {
		return context.Background()
	}
	return r.ctx
}

// WithContext puts a context under the request.
func (r *Request) WithContext(ctx context.Context) {
	if ctx == nil {
		panic("nil context")
	}
	r.ctx = ctx
}

// Response of a function. A status of zero is told as 200.
type Response struct {
	Body       []byte
	StatusCode int
	Header     http.Header
}

// FunctionHandler is what a function can be as an object.
type FunctionHandler interface {
	Handle(req Request) (Response, error)
}

// Package handler has the types under the name that they had first.
package handler

import sdk "github.com/openfaas/templates-sdk/go-http"

type (
	Request         = sdk.Request
	Response        = sdk.Response
	FunctionHandler = sdk.FunctionHandler
)

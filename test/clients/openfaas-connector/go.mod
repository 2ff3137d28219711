module clients/openfaas-connector

go 1.26

tool github.com/openfaas/connector-sdk/cmd/tester

require github.com/openfaas/connector-sdk v0.7.1

require (
	github.com/alexellis/go-execute v0.5.0 // indirect
	github.com/openfaas/faas-provider v0.19.1 // indirect
)

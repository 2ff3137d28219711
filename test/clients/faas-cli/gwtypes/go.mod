module github.com/openfaas/faas/gateway

go 1.26

package main

import (
	"fmt"
	"io"
	"log"
	"os"

	"handler/function"
)

func main() {
	request, err := io.ReadAll(os.Stdin)
	if err != nil {
		log.Fatalf("The request cannot be read: %s", err)
	}

	fmt.Println(function.Handle(request))
}

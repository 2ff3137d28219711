// Serves an OpenWhisk action in a loop: a line of JSON in on standard input, a line of JSON out on descriptor 3.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
)

func main() {
	out := os.NewFile(3, "answers")
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	if os.Getenv("__OW_WAIT_FOR_ACK") != "" {
		fmt.Fprintln(out, `{"ok":true}`)
	}
	for {
		line, err := in.ReadBytes('\n')
		if len(line) > 0 {
			answer := openwhiskServe(line)
			os.Stdout.Sync()
			os.Stderr.Sync()
			out.Write(append(answer, '\n'))
		}
		if err == io.EOF {
			return
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func openwhiskServe(line []byte) (answer []byte) {
	defer func() {
		if failure := recover(); failure != nil {
			fmt.Fprintln(os.Stderr, failure)
			answer = openwhiskError(fmt.Sprint(failure))
		}
	}()
	var call map[string]json.RawMessage
	if err := json.Unmarshal(line, &call); err != nil {
		return openwhiskError(err.Error())
	}
	for key, raw := range call {
		if key == "value" {
			continue
		}
		if key == "env" {
			env := map[string]string{}
			if json.Unmarshal(raw, &env) == nil {
				for name, value := range env {
					os.Setenv(name, value)
				}
			}
			continue
		}
		var text string
		if json.Unmarshal(raw, &text) == nil {
			os.Setenv("__OW_"+strings.ToUpper(key), text)
		}
	}
	result, err := openwhiskCall(call["value"])
	if err != nil {
		return openwhiskError(err.Error())
	}
	answer, err = json.Marshal(result)
	if err != nil {
		return openwhiskError(err.Error())
	}
	return answer
}

// openwhiskCall gives the action its argument in the type that it asks for. A second result may be an error.
func openwhiskCall(value json.RawMessage) (interface{}, error) {
	action := reflect.ValueOf(openwhiskMain)
	var arguments []reflect.Value
	if action.Type().NumIn() > 0 {
		argument := reflect.New(action.Type().In(0))
		if err := json.Unmarshal(value, argument.Interface()); err != nil {
			return nil, err
		}
		arguments = append(arguments, argument.Elem())
	}
	results := action.Call(arguments)
	if len(results) == 0 {
		return map[string]interface{}{}, nil
	}
	if last, isError := results[len(results)-1].Interface().(error); isError && len(results) > 1 {
		return nil, last
	}
	return results[0].Interface(), nil
}

func openwhiskError(message string) []byte {
	answer, _ := json.Marshal(map[string]string{"error": message})
	return answer
}

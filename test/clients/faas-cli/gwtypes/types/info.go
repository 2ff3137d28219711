// Package types holds the shape of the /system/info answer.
package types

// Build names one build of a component.
type Build struct {
	CommitMessage string `json:"commit_message,omitempty"`
	SHA           string `json:"sha"`
	Release       string `json:"release"`
}

// Backend describes the provider behind a gateway.
type Backend struct {
	Name          string `json:"provider"`
	Orchestration string `json:"orchestration"`
	Version       *Build `json:"version"`
}

// GatewayInfo is the answer of GET /system/info.
type GatewayInfo struct {
	Provider *Backend `json:"provider"`
	Version  *Build   `json:"version"`
	Arch     string   `json:"arch"`
}

class Handler
  # body is read like a file; headers are those of a Rack environment: HTTP_X_CALL_ID, REQUEST_METHOD, PATH_INFO.
  # A status may follow the answer's headers.
  def run(body, headers)
    response_headers = { "content-type" => "text/plain" }

    return "Hello from OpenFaaS!", response_headers
  end
end

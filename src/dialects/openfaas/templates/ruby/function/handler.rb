class Handler
  def run(req)
    "Hello from OpenFaaS!"
  end
end

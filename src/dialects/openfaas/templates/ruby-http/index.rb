require "socket"
require "stringio"
require_relative "function/handler"

# One connection's calls, one after the other.
class Connection
  MAX_LINE = 64 * 1024
  REASONS = { 200 => "OK", 201 => "Created", 202 => "Accepted", 204 => "No Content", 301 => "Moved Permanently",
              302 => "Found", 304 => "Not Modified", 400 => "Bad Request", 401 => "Unauthorized", 403 => "Forbidden",
              404 => "Not Found", 500 => "Internal Server Error" }.freeze

  class BadRequest < StandardError; end

  def initialize(socket)
    @socket = socket
  end

  def serve
    loop do
      environment = read_head or return
      body = read_body(environment)
      status, headers, text = call(environment, body)
      write(status, headers, text, bodiless: environment["REQUEST_METHOD"] == "HEAD")
      return if environment["HTTP_CONNECTION"].to_s.downcase == "close"
    end
  rescue BadRequest => e
    write(400, { "connection" => "close" }, e.message)
  rescue SystemCallError, IOError
    # The caller has gone.
  ensure
    @socket.close
  end

  private

  def call(environment, body)
    answer, headers, status = Handler.new.run(StringIO.new(body), environment)
    [(status || 200).to_i, headers || {}, answer]
  rescue StandardError, NotImplementedError => e
    warn e.full_message(highlight: false)
    [500, { "content-type" => "text/plain" }, "#{e.class}: #{e.message}"]
  end

  def read_head
    request = line or return nil
    method, target, version = request.split(" ", 3)
    raise BadRequest, "No HTTP request." unless version&.start_with?("HTTP/1.")

    path, query = target.split("?", 2)
    environment = { "REQUEST_METHOD" => method, "PATH_INFO" => path, "QUERY_STRING" => query.to_s,
                    "REQUEST_URI" => target, "SERVER_PROTOCOL" => version }
    until (field = line.to_s).empty?
      name, value = field.split(":", 2)
      raise BadRequest, "A header without a value." if value.nil?

      key = name.upcase.tr("-", "_")
      key = "HTTP_#{key}" unless %w[CONTENT_TYPE CONTENT_LENGTH].include?(key)
      value = value.strip
      environment[key] = environment.key?(key) ? "#{environment[key]}, #{value}" : value
    end
    environment
  end

  def read_body(environment)
    return read_chunks if environment["HTTP_TRANSFER_ENCODING"].to_s.downcase.include?("chunked")

    exactly(Integer(environment.fetch("CONTENT_LENGTH", "0"), 10))
  rescue ArgumentError
    raise BadRequest, "No length of a body."
  end

  def read_chunks
    body = String.new(encoding: Encoding::BINARY)
    until (size = line.to_s[/\A\h+/].to_s.then { |digits| Integer(digits, 16) }).zero?
      body << exactly(size)
      line
    end
    nil until line.to_s.empty?
    body
  end

  def exactly(size)
    return "" if size.zero?

    bytes = @socket.read(size)
    raise EOFError if bytes.nil? || bytes.bytesize < size

    bytes
  end

  def line
    text = @socket.gets("\n", MAX_LINE) or return nil
    raise BadRequest, "A line is too long." unless text.end_with?("\n")

    text.chomp
  end

  def write(status, headers, text, bodiless: false)
    bytes = (text.respond_to?(:each) ? text.each.to_a.join : text.to_s).b
    fields = { "content-type" => "text/html;charset=utf-8" }
    headers.each { |name, value| fields[name.to_s.downcase] = value.to_s.delete("\r\n") }
    fields["content-length"] = bytes.bytesize unless status == 204 || status == 304
    head = +"HTTP/1.1 #{status} #{REASONS.fetch(status, 'Status')}\r\n"
    fields.each { |name, value| head << "#{name}: #{value}\r\n" }
    head << "\r\n"
    @socket.write(bodiless || status == 204 || status == 304 ? head : head.b << bytes)
  end
end

$stdout.sync = true
server = TCPServer.new("0.0.0.0", Integer(ENV.fetch("http_port", "5000")))
trap("TERM") { exit }
loop do
  socket = server.accept
  socket.setsockopt(Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1)
  Thread.new { Connection.new(socket).serve }
end

# Serves an OpenWhisk action in a loop: a line of JSON in on standard input, a line of JSON out on descriptor 3.
require "json"

Dir.chdir(__dir__)
$stdout.sync = true
$stderr.sync = true
settings = JSON.parse(File.read(File.join(__dir__, ".openwhisk.json")))
answers = IO.for_fd(3, "w")
answers.sync = true
load File.join(__dir__, settings["entry"])
main = settings["main"].to_sym
unless respond_to?(main, true)
  warn "There is no method '#{main}' in the code."
  exit 1
end
answers.puts('{"ok":true}') if ENV["__OW_WAIT_FOR_ACK"]

while (line = $stdin.gets)
  call = JSON.parse(line)
  call.each do |key, value|
    if key == "env"
      value.each { |name, text| ENV[name] = text }
    elsif key != "value"
      ENV["__OW_#{key.upcase}"] = value
    end
  end
  begin
    result = method(main).arity.zero? ? send(main) : send(main, call["value"])
    answers.puts(JSON.generate(result.nil? ? {} : result))
  rescue Exception => error
    raise if error.is_a?(SystemExit)
    warn error.full_message(highlight: false)
    answers.puts(JSON.generate({ error: error.message }))
  end
end

require_relative "function/handler"

$stdout.sync = true
answer = Handler.new.run($stdin.read)
puts answer unless answer.nil?

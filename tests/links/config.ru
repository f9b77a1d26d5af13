# A Ruby service whose requests call the leaf. Paths are /keep|close/PATTERN/item/NUMBER.
require 'net/http'

LEAF_PORT = Integer(ENV.fetch('LEAF_PORT'))

def call(keep, path)
  unless keep
    return Net::HTTP.start('127.0.0.1', LEAF_PORT) { |http| http.get(path, 'Connection' => 'close').code }
  end

  http = Thread.current[:leaf] ||= Net::HTTP.new('127.0.0.1', LEAF_PORT).tap { |fresh| fresh.keep_alive_timeout = 60 }.start
  http.get(path).code
end

run lambda { |environment|
  _, mode, pattern, rest = environment['PATH_INFO'].split('/', 4)
  keep = mode == 'keep'
  item = "/#{rest}"
  case pattern
  when 'sequence'
    call(keep, "/stock#{item}")
    call(keep, "/price#{item}")
  when 'retry'
    call(keep, "/flaky#{item}") if call(keep, "/flaky#{item}") != '200'
  end
  [200, { 'Content-Type' => 'text/plain' }, ["done\n"]]
}

<?php
// Serves an OpenWhisk action in a loop: a line of JSON in on standard input, a line of JSON out on descriptor 3.
chdir(__DIR__);
$settings = json_decode(file_get_contents(__DIR__ . '/.openwhisk.json'), true);
$answers = fopen('php://fd/3', 'w');
if (file_exists(__DIR__ . '/vendor/autoload.php')) {
    require __DIR__ . '/vendor/autoload.php';
}
require __DIR__ . '/' . $settings['entry'];
$main = $settings['main'];
if (!is_callable($main)) {
    fwrite(STDERR, "There is no function '$main' in the code.\n");
    exit(1);
}
if (getenv('__OW_WAIT_FOR_ACK')) {
    fwrite($answers, "{\"ok\":true}\n");
}
while (($line = fgets(STDIN)) !== false) {
    $call = json_decode($line, true);
    foreach ($call as $key => $value) {
        if ($key === 'env') {
            foreach ($value as $name => $text) {
                putenv("$name=$text");
                $_ENV[$name] = $text;
            }
        } elseif ($key !== 'value') {
            $name = '__OW_' . strtoupper($key);
            putenv("$name=$value");
            $_ENV[$name] = $value;
        }
    }
    try {
        $result = $main($call['value'] ?? []);
    } catch (\Throwable $error) {
        fwrite(STDERR, $error . "\n");
        $result = ['error' => $error->getMessage()];
    }
    $text = is_array($result) && count($result) === 0 ? '{}' : json_encode($result ?? new stdClass());
    if ($text === false) {
        $text = json_encode(['error' => 'The result cannot be written as JSON: ' . json_last_error_msg()]);
    }
    fwrite($answers, $text . "\n");
    fflush($answers);
}

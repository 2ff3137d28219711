<?php

declare(strict_types=1);

$vendor = __DIR__ . '/function/vendor/autoload.php';
if (is_file($vendor)) {
    require $vendor;
}

// Also without Composer, App\Shop\Basket is src/Shop/Basket.php.
spl_autoload_register(static function (string $class): void {
    if (!str_starts_with($class, 'App\\')) {
        return;
    }
    $file = __DIR__ . '/function/src/' . str_replace('\\', '/', substr($class, 4)) . '.php';
    if (is_file($file)) {
        require $file;
    }
});

$answer = (new App\Handler())->handle((string) stream_get_contents(STDIN));
if ($answer !== null) {
    echo is_array($answer) || $answer instanceof JsonSerializable
        ? json_encode($answer, JSON_THROW_ON_ERROR)
        : $answer;
}

<?php

declare(strict_types=1);

namespace App;

/**
 * Answers one request.
 */
class Handler
{
    public function handle(string $data): string
    {
        return $data;
    }
}

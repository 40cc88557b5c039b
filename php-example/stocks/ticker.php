<?php
// A stock exchange of three: every second the prices move, and all of them leave in one request.
//
//   php ticker.php     goes on until Ctrl-C; asked for as a page, it moves them once
//
// Any other program may publish instead, through Redis or PostgreSQL: see redis.yaml.

declare(strict_types=1);

$shell = PHP_SAPI === 'cli';
$prices = ['ACME' => 100.0, 'GLOBEX' => 250.0, 'INITECH' => 42.0];
do {
    $lines = [];
    foreach ($prices as $symbol => &$price) {
        $price = round($price * (1 + random_int(-200, 200) / 10_000), 2);
        $lines[] = json_encode(['channel' => "stock.$symbol", 'data' => ['price' => $price]]);
    }
    unset($price);
    $heard = publish($lines);
    echo $heard === null ? 'the gateway cannot be reached' : "$heard prices were heard", "\n";
} while ($shell && !in_array('--once', $argv) && sleep(1) === 0);

/** POST /batch: a JSON object a line, in both directions; how many heard it. */
function publish(array $lines): ?int
{
    $api = $_SERVER['WSGATE_API'] ?? 'http://127.0.0.1:8081';
    $options = [
        'method' => 'POST',
        'header' => ['Content-Type: application/x-ndjson', 'Authorization: Bearer ' . getenv('WSGATE_API_KEY')],
        'content' => implode("\n", $lines),
        'timeout' => 2,
    ];
    $answer = @file_get_contents("$api/batch", false, stream_context_create(['http' => $options]));
    if ($answer === false) return null;
    $results = array_map(fn ($line) => json_decode($line, true), explode("\n", trim($answer)));
    return array_sum(array_column($results, 'subscribers'));
}

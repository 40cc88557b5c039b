<?php
// Takes jobs from the queue and pushes the results to the pages that wait for them.
//
//   php worker.php     goes on until Ctrl-C; start several, or let systemd or cron do it
//
// Asked for as a page it works until the queue is empty: so the example runs without a shell.

declare(strict_types=1);

require __DIR__ . '/queue.php';

$shell = PHP_SAPI === 'cli';
$done = 0;
while (($job = take($shell ? 5 : 0)) || ($shell && !in_array('--once', $argv))) {
    if ($job === null) continue;
    push($job['push'], ['job' => $job['id'], 'state' => 'working']);
    $start = microtime(true);
    $primes = count_primes($job['limit']);
    $result = ['job' => $job['id'], 'state' => 'done', 'primes' => $primes, 'below' => $job['limit']];
    $status = push($job['push'], $result + ['seconds' => round(microtime(true) - $start, 3)]);
    $done++;
    // 410: the page has gone meanwhile. Where that matters, store the result.
    if ($shell) echo "job $job[id]: ", $status === 410 ? 'nobody waits any more' : 'delivered', "\n";
}
if (!$shell) echo "$done done\n";

/** POST to the connection's own address; only this one page hears it. */
function push(string $url, array $data): int
{
    $options = [
        'method' => 'POST',
        'header' => ['Content-Type: application/json', 'Authorization: Bearer ' . getenv('WSGATE_API_KEY')],
        'content' => json_encode($data),
        'timeout' => 2,
        'ignore_errors' => true,
    ];
    @file_get_contents($url, false, stream_context_create(['http' => $options]));
    return (int) substr($http_response_header[0] ?? '', 9, 3);
}

function count_primes(int $limit): int
{
    $sieve = str_repeat("\1", max($limit, 2));
    $sieve[0] = $sieve[1] = "\0";
    for ($n = 2; $n * $n < $limit; $n++) {
        if ($sieve[$n] === "\0") continue;
        for ($m = $n * $n; $m < $limit; $m += $n) $sieve[$m] = "\0";
    }
    return substr_count($sieve, "\1");
}

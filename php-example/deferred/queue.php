<?php
// A queue: a folder of files, or a Redis list where QUEUE_REDIS=tcp://127.0.0.1:6379 is set.

declare(strict_types=1);
const QUEUE = 'wsgate:deferred';

function put(array $job): void
{
    if (getenv('QUEUE_REDIS')) {
        redis('RPUSH', QUEUE, json_encode($job));
        return;
    }
    $name = sprintf('%s/%.6F-%s', folder(), microtime(true), bin2hex(random_bytes(4)));
    file_put_contents("$name.new", json_encode($job));
    rename("$name.new", "$name.job"); // a worker sees the whole job or none
}

/** The oldest job, after waiting for one at most so many seconds. */
function take(int $seconds): ?array
{
    if (getenv('QUEUE_REDIS')) {
        $found = $seconds ? redis('BLPOP', QUEUE, (string) $seconds)[1] ?? null : redis('LPOP', QUEUE);
        return $found === null ? null : json_decode($found, true);
    }
    for ($end = time() + $seconds; ; usleep(100_000)) {
        foreach (glob(folder() . '/*.job') as $file) {
            if (!@rename($file, "$file.taken")) continue; // another worker was faster
            $line = file_get_contents("$file.taken");
            unlink("$file.taken");
            return json_decode($line, true);
        }
        if (time() >= $end) return null;
    }
}

function folder(): string
{
    $folder = getenv('QUEUE_FOLDER') ?: sys_get_temp_dir() . '/wsgate-queue-' . fileowner(__FILE__);
    return is_dir($folder) || mkdir($folder, 0700) ? $folder : throw new RuntimeException($folder);
}

/** One command over a plain socket; php-redis would do as well. */
function redis(string ...$words): mixed
{
    static $socket = null;
    $socket ??= stream_socket_client(getenv('QUEUE_REDIS'));
    fwrite($socket, '*' . count($words) . "\r\n");
    foreach ($words as $word) fwrite($socket, '$' . strlen($word) . "\r\n$word\r\n");
    $reply = function () use ($socket, &$reply): mixed {
        $line = rtrim(fgets($socket));
        $size = (int) substr($line, 1);
        return match ($line[0]) {
            '$' => $size < 0 ? null : substr(stream_get_contents($socket, $size + 2), 0, -2),
            '*' => $size < 0 ? null : array_map($reply, range(1, $size)),
            '-' => throw new RuntimeException($line),
            default => $line,
        };
    };
    return $reply();
}

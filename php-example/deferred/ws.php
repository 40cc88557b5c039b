<?php
// Route /ws/deferred: work that takes too long for a request.
//
// message   puts the job into the queue, with the address of this very connection, and returns
//
// No php-fpm child waits for the work. worker.php does it, whenever it comes to it, and pushes what
// it found to WS_PUSH_URL: only the page that asked hears it, on whichever socket it holds.

declare(strict_types=1);

require __DIR__ . '/queue.php';

$limit = filter_var(
    json_decode(file_get_contents('php://input'), true)['limit'] ?? null,
    FILTER_VALIDATE_INT,
    ['options' => ['min_range' => 1, 'max_range' => 2_000_000]],
);
header('Content-Type: application/json');
if ($limit === false) {
    http_response_code(422);
    exit;
}
$job = ['id' => (int) $_SERVER['WS_MESSAGE_ID'], 'limit' => $limit, 'push' => $_SERVER['WS_PUSH_URL']];
put($job);
echo json_encode(['job' => $job['id'], 'state' => 'queued']);

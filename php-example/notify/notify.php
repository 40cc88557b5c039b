<?php
// Tells one user something, at any moment: from a page (POST user, text), from cron or a shell:
//
//   php notify.php ada "Your parcel has arrived"
//
// All it takes is one HTTP request to the gateway's internal listener.

declare(strict_types=1);

$shell = PHP_SAPI === 'cli';
[$user, $text] = $shell ? [$argv[1] ?? '', $argv[2] ?? ''] : [$_POST['user'] ?? '', $_POST['text'] ?? ''];

if (!preg_match('/^[a-z0-9._-]{1,30}$/i', $user) || $text === '') {
    answer(422, 'a user and a text are needed');
    exit(1);
}
$news = ['text' => $text, 'from' => $shell ? 'the shell' : 'a page', 'at' => date('H:i:s')];

[$status, $about] = publish("notify.$user", $news);
match ($status) {
    201 => answer(200, "$user hears it now"),
    202 => answer(200, "$user is not here; it is kept for a browser that comes back"),
    default => answer(502, $about['error']['message'] ?? 'the gateway cannot be reached'),
};

/** POST /channels/NAME: 201 when somebody hears it, 202 when nobody does. */
function publish(string $channel, mixed $data): array
{
    $api = $_SERVER['WSGATE_API'] ?? 'http://127.0.0.1:8081';
    $options = [
        'method' => 'POST',
        // Without an api_key in the configuration the Authorization says nothing.
        'header' => ['Content-Type: application/json', 'Authorization: Bearer ' . getenv('WSGATE_API_KEY')],
        'content' => json_encode($data),
        'timeout' => 2,
        'ignore_errors' => true, // a status is an answer, no warning
    ];
    $context = stream_context_create(['http' => $options]);
    $body = @file_get_contents("$api/channels/" . rawurlencode($channel), false, $context);
    $status = (int) substr($http_response_header[0] ?? '', 9, 3);
    return [$status, json_decode((string) $body, true)];
}

function answer(int $status, string $text): void
{
    http_response_code($status);
    header('Content-Type: text/plain; charset=utf-8');
    echo $text, "\n";
}

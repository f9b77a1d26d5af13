<?php
// A PHP service whose requests call the leaf. Paths are /keep|close/PATTERN/item/NUMBER; PHP keeps no connection from one
// request to the next, so "keep" holds within one.
declare(strict_types=1);

[, $mode, $pattern, $rest] = explode('/', $_SERVER['REQUEST_URI'], 4);
$keep = $mode === 'keep';
$item = '/' . $rest;
$kept = curl_init();

function call(string $path): int
{
    global $keep, $kept;
    $handle = $keep ? $kept : curl_init();
    curl_setopt_array($handle, [
        CURLOPT_URL => 'http://127.0.0.1:' . getenv('LEAF_PORT') . $path,
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_FORBID_REUSE => !$keep,
    ]);
    curl_exec($handle);
    return curl_getinfo($handle, CURLINFO_RESPONSE_CODE);
}

switch ($pattern) {
    case 'sequence':
        call('/stock' . $item);
        call('/price' . $item);
        break;
    case 'retry':
        if (call('/flaky' . $item) !== 200) {
            call('/flaky' . $item);
        }
        break;
}
echo "done\n";

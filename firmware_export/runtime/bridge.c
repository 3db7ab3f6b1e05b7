#include "bridge.h"

uint16_t bridge_crc16(const uint8_t *data, size_t length)
{
    uint16_t crc = 0xFFFFu;
    size_t i;

    /* a bit loop in closed form: no table, six operations a byte */
    for (i = 0; i < length; i++) {
        uint16_t x = (uint16_t)((uint16_t)(crc >> 8) ^ data[i]);
        x = (uint16_t)(x ^ (x >> 4));
        crc = (uint16_t)((uint16_t)(crc << 8) ^ (uint16_t)(x << 12) ^ (uint16_t)(x << 5) ^ x);
    }
    return crc;
}

/* COBS in place; the decoded bytes never overtake the encoded ones. Returns the length, or 0 for bad code bytes. */
static size_t cobs_decode(uint8_t *data, size_t length)
{
    size_t in = 0;
    size_t out = 0;

    while (in < length) {
        const size_t code = data[in];
        size_t i;
        if (code == 0 || in + code > length) {
            return 0;
        }
        for (i = 1; i < code; i++) {
            data[out++] = data[in + i];
        }
        in += code;
        if (in < length && code < 255) {
            data[out++] = 0;
        }
    }
    return out;
}

/* A whole piece without its delimiter: the payload's length if it is a frame, else 0. */
static size_t accept(uint8_t *data, size_t length)
{
    const size_t decoded = cobs_decode(data, length);
    size_t payload;
    uint16_t crc;

    if (decoded <= BRIDGE_CRC_BYTES) {
        return 0;
    }
    payload = decoded - BRIDGE_CRC_BYTES;
    if (payload > BRIDGE_MAX_PAYLOAD) {
        return 0;
    }
    crc = (uint16_t)(data[payload] | ((unsigned)data[payload + 1] << 8));
    return crc == bridge_crc16(data, payload) ? payload : 0;
}

size_t bridge_receive(struct bridge_receiver *receiver, uint8_t byte)
{
    size_t payload = 0;

    if (byte != 0) {
        if (receiver->used < sizeof receiver->buffer) {
            receiver->buffer[receiver->used++] = byte;
        } else {
            receiver->too_long = 1;
        }
        return 0;
    }
    if (receiver->used > 0) {
        payload = receiver->too_long ? 0 : accept(receiver->buffer, receiver->used);
        if (payload == 0) {
            receiver->bad++;
        }
    }
    receiver->used = 0;
    receiver->too_long = 0;
    return payload;
}

size_t bridge_frame(const uint8_t *payload, size_t length, uint8_t *out)
{
    const uint16_t crc = bridge_crc16(payload, length);
    const uint8_t tail[BRIDGE_CRC_BYTES] = {(uint8_t)(crc & 0xFFu), (uint8_t)(crc >> 8)};
    size_t code_at = 0; /* where the distance to the next zero goes */
    size_t at = 1;
    size_t i;

    if (length == 0 || length > BRIDGE_MAX_PAYLOAD) {
        return 0;
    }
    for (i = 0; i < length + BRIDGE_CRC_BYTES; i++) {
        const uint8_t byte = i < length ? payload[i] : tail[i - length];
        if (byte == 0) {
            out[code_at] = (uint8_t)(at - code_at);
            code_at = at++;
        } else {
            out[at++] = byte;
        }
    }
    out[code_at] = (uint8_t)(at - code_at);
    out[at++] = 0;
    return at;
}

#include "bus.h"

#include <string.h>

#define CHUNK 32
#define CHATTER 512u /* bytes without a packet among them, for which nobody waits any longer */
#define DRAINS 64u /* of CHUNK bytes: a line that chatters without end is broken */

void dxl_bus_init(struct dxl_bus *bus, uint32_t timeout_us)
{
    memset(bus, 0, sizeof *bus);
    bus->timeout_us = timeout_us;
}

static void drop_leftovers(struct dxl_bus *bus)
{
    uint8_t data[CHUNK];
    unsigned i;

    bus->receiver.used = 0;
    for (i = 0; i < DRAINS && dxl_port_read(data, sizeof data) > 0; i++) {
    }
}

enum dxl_result dxl_send(struct dxl_bus *bus, struct dxl_packet *packet)
{
    if (!dxl_end(packet)) {
        return DXL_UNSENT;
    }
    drop_leftovers(bus);
    bus->sent_packets++;
    bus->sent_bytes += (uint32_t)packet->length;
    return dxl_port_write(packet->bytes, packet->length) ? DXL_OK : DXL_UNSENT;
}

enum dxl_result dxl_next(struct dxl_bus *bus, uint32_t since_us, struct dxl_status *status)
{
    unsigned bytes = 0;

    while (!dxl_take(&bus->receiver, status)) {
        /* byte by byte: those behind an answer stay with the port, whose ring is larger than our buffer; and before the
         * clock, for what is here came in time, even if we were late. A line that chatters brings CHATTER at most. */
        uint8_t byte;
        if (bytes < CHATTER && dxl_port_read(&byte, 1) > 0) {
            bytes++;
            bus->received_bytes++;
            dxl_push(&bus->receiver, byte);
        } else if (bytes < CHATTER && dxl_port_now_us() - since_us < bus->timeout_us) {
            dxl_port_wait();
        } else if (bus->receiver.used > 0) {
            dxl_skip(&bus->receiver); /* noise that looked like a header may have swallowed it */
        } else {
            bus->silences++;
            return DXL_SILENT;
        }
    }
    return DXL_OK;
}

enum dxl_result dxl_await(struct dxl_bus *bus, uint8_t id, size_t length, struct dxl_status *status)
{
    const uint32_t start = dxl_port_now_us();

    while (dxl_next(bus, start, status) == DXL_OK) {
        if (status->id == id && (status->error & DXL_ERROR_NUMBER) != 0) {
            bus->refusals++;
            return DXL_REFUSED;
        }
        if (status->id == id && status->length == length) {
            return DXL_OK;
        }
    }
    return DXL_SILENT;
}

static enum dxl_result ask(struct dxl_bus *bus, struct dxl_packet *packet, size_t length, struct dxl_status *status)
{
    const enum dxl_result sent = dxl_send(bus, packet);
    return sent == DXL_OK ? dxl_await(bus, packet->bytes[4], length, status) : sent;
}

enum dxl_result dxl_ping(struct dxl_bus *bus, uint8_t id, struct dxl_status *status)
{
    struct dxl_packet packet;
    dxl_begin(&packet, id, DXL_PING);
    return ask(bus, &packet, 3, status);
}

enum dxl_result dxl_read(struct dxl_bus *bus, uint8_t id, uint16_t address, uint16_t length, struct dxl_status *status)
{
    struct dxl_packet packet;
    dxl_begin(&packet, id, DXL_READ);
    dxl_u16(&packet, address);
    dxl_u16(&packet, length);
    return ask(bus, &packet, length, status);
}

enum dxl_result dxl_write(struct dxl_bus *bus, uint8_t id, uint16_t address, int32_t value, unsigned size,
                          struct dxl_status *status)
{
    const uint32_t bits = (uint32_t)value;
    struct dxl_packet packet;

    dxl_begin(&packet, id, DXL_WRITE);
    dxl_u16(&packet, address);
    if (size == 1u) {
        dxl_u8(&packet, (uint8_t)(bits & 0xFFu));
    } else if (size == 2u) {
        dxl_u16(&packet, (uint16_t)(bits & 0xFFFFu));
    } else {
        dxl_u32(&packet, bits);
    }
    return ask(bus, &packet, 0, status);
}

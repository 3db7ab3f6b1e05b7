/*
 * bus.h - a controller on a half-duplex DYNAMIXEL bus: asks, waits for the answer, gives up in time.
 *
 * One talks at a time: nothing is sent while an answer may still come, and the line is turned round before it can come.
 * Status packets carry no number by which an old one could be told from a new one, so what lies in the receiver when a
 * packet is about to be sent, an answer that came too late, is dropped.
 */
#ifndef DXL_BUS_H
#define DXL_BUS_H

#include "packet.h"

/* ---- given by the board ---- */

/* Takes up to `capacity` received bytes; returns how many. Never waits. */
size_t dxl_port_read(uint8_t *data, size_t capacity);

/* Sends all of it and returns once the last stop bit has left and the line listens again: 1, or 0 for a broken line. */
int dxl_port_write(const uint8_t *data, size_t length);

/* The controller's clock; wraps. */
uint32_t dxl_port_now_us(void);

/* Until something is received, at most about a millisecond. May return at once. */
void dxl_port_wait(void);

/* ---- for the robot ---- */

struct dxl_bus {
    struct dxl_receiver receiver;
    uint32_t timeout_us; /* for one status packet, from the end of the packet before it */

    /* since the start */
    uint32_t sent_packets, sent_bytes, received_bytes;
    uint32_t silences;  /* status packets that did not come */
    uint32_t refusals;  /* that came with an error number */
};

enum dxl_result {
    DXL_OK = 0,
    DXL_SILENT = 1,  /* no intact answer in time */
    DXL_REFUSED = 2, /* answered with an error number, status->error */
    DXL_UNSENT = 3   /* the line is broken, or the packet was too long */
};

void dxl_bus_init(struct dxl_bus *bus, uint32_t timeout_us);

/* Ends and sends a packet; no answer is awaited. */
enum dxl_result dxl_send(struct dxl_bus *bus, struct dxl_packet *packet);

/* The next status packet, whoever it is from; DXL_SILENT when there is none `timeout_us` after `since_us`. */
enum dxl_result dxl_next(struct dxl_bus *bus, uint32_t since_us, struct dxl_status *status);

/* The answer of `id` with `length` bytes of data, or with an error number; those of others are dropped. */
enum dxl_result dxl_await(struct dxl_bus *bus, uint8_t id, size_t length, struct dxl_status *status);

/* Is it there? data: model number (2), version of its firmware (1). */
enum dxl_result dxl_ping(struct dxl_bus *bus, uint8_t id, struct dxl_status *status);

enum dxl_result dxl_read(struct dxl_bus *bus, uint8_t id, uint16_t address, uint16_t length, struct dxl_status *status);

/* One register of `size` 1, 2 or 4 bytes, acknowledged by the device. */
enum dxl_result dxl_write(struct dxl_bus *bus, uint8_t id, uint16_t address, int32_t value, unsigned size,
                          struct dxl_status *status);

#endif

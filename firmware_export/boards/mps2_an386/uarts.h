/*
 * uarts.h - the board's serial lines, and what a way to the robot's body (world_record.c, world_bus.c) gives the board
 * beside board_world() and hal_devices().
 */
#ifndef UARTS_H
#define UARTS_H

#include <stddef.h>
#include <stdint.h>

#define HOST_UART 0u
#define BUS_UART 1u   /* to the servos; its transceiver turns round when the transmitter is empty */
#define WORLD_UART 2u /* to the simulated world */

/* Received bytes, up to `capacity`; returns how many. */
size_t uart_read(unsigned uart, uint8_t *data, size_t capacity);

/* Sends all and returns when the last byte is on its way; 0 for a line that does not take it. */
int uart_write(unsigned uart, const uint8_t *data, size_t length);

/* Until an interrupt, the next millisecond in any case; at once where something has been received. */
void uart_doze(unsigned uart);

/* Before anything is asked of the world. */
void world_start(int paced);

/* With every turn of the main loop. */
void world_rest(void);

uint32_t world_bus_baud(void);

/* A record to the world and its answer, whole; starts the board anew when the world is gone. */
void world_exchange(const uint8_t *request, size_t length, uint8_t *reply, size_t expected);

#endif

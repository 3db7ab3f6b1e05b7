/*
 * world_bus.c - a robot whose actuators and sensors are on the servo bus, UART 1.
 *
 * All that moves or is measured goes over the bus. UART 2 carries what no robot has: the word that a control period has
 * gone by, or that the body is to be put to its start, for the time of a simulated world is ours.
 */
#include "hal.h"
#include "lockstep.h"
#include "record.h"
#include "servos.h"
#include "uarts.h"

/* In virtual time a silence costs nothing but patience, and whoever plays the servos may have been kept waiting by this
 * machine; in real time a control period has to hold it. */
#define TIMEOUT_US 100000u
#define BUDGET_US 400000u
#define PACED_TIMEOUT_US ((uint32_t)ROBOT_CONTROL_PERIOD_US / 6u)
#define PACED_BUDGET_US ((uint32_t)ROBOT_CONTROL_PERIOD_US / 2u)
#define BYTE_US (10u * 1000000u / WIRING_BAUD + 1u)
#define REST_US 500000u

static struct servos servos;
static uint64_t rested_us;

/* ---- bus.h ---- */

size_t dxl_port_read(uint8_t *data, size_t capacity)
{
    return uart_read(BUS_UART, data, capacity);
}

int dxl_port_write(const uint8_t *data, size_t length)
{
    const int sent = uart_write(BUS_UART, data, length);
    const uint64_t start = board_wall_us();
    /* this UART does not say when it is idle: the last byte is still being shifted out when its buffer is free */
    while (board_wall_us() - start < BYTE_US) {
    }
    return sent;
}

uint32_t dxl_port_now_us(void)
{
    return (uint32_t)(board_wall_us() & 0xFFFFFFFFu);
}

void dxl_port_wait(void)
{
    uart_doze(BUS_UART);
}

/* ---- uarts.h, hal.h, lockstep.h ---- */

uint32_t world_bus_baud(void)
{
    return WIRING_BAUD;
}

void world_start(int paced)
{
    servos_start(&servos, paced ? PACED_TIMEOUT_US : TIMEOUT_US, paced ? PACED_BUDGET_US : BUDGET_US);
}

void world_rest(void)
{
    if (!servos.torque_on && board_wall_us() - rested_us >= REST_US) {
        servos_rest(&servos);
        rested_us = board_wall_us();
    }
}

void hal_devices(int anew, struct hal_devices *devices)
{
    if (anew) {
        servos_check(&servos);
    }
    devices->fault = servos.fault;
    devices->detail = servos.detail;
    devices->reused = servos.reused;
}

void board_world(char kind, uint32_t episode_seed, uint64_t time_us, const int32_t *actuators, int torque_on,
                 int32_t *sensors)
{
    uint8_t request[TIME_BYTES];
    uint8_t reply[TIME_REPLY_BYTES];

    servos_actuate(&servos, actuators, torque_on);
    (void)record_time(request, kind, episode_seed, time_us, torque_on);
    world_exchange(request, sizeof request, reply, sizeof reply);
    servos_sense(&servos, sensors);
}

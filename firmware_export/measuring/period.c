/*
 * period.c - control periods as what is measured: bench_infer() is firmware_tick() of the real runtime.
 *
 * The board is a table: sensor counts are a vector, and a command, with torque behind the actuators, is the output. What
 * the host sends in front of a control period (heard.h) is heard before the marks. The line takes everything, there is no
 * store, and time moves by control periods. So a figure has runtime, policy and robot model in it, and nothing of a
 * board's pins, bus and line.
 */
#include "bench.h"
#include "firmware.h"
#include "hal.h"
#include "heard.h"

static struct firmware firmware;
static uint32_t now_us, heard_at, heard_end;
static int32_t at_rest[BENCH_OUTPUTS];
static const int32_t *counts;
static int32_t *command = at_rest;

void hal_sense(int32_t *sensors)
{
    memcpy(sensors, counts, ROBOT_SENSORS * sizeof *sensors);
}

void hal_actuate(const int32_t *actuators, int torque_on)
{
    memcpy(command, actuators, ROBOT_ACTUATORS * sizeof *command);
    command[ROBOT_ACTUATORS] = torque_on;
}

void hal_devices(int anew, struct hal_devices *devices)
{
    (void)anew;
    memset(devices, 0, sizeof *devices);
}

uint32_t hal_now_us(void)
{
    return now_us;
}

size_t hal_uart_read(uint8_t *data, size_t capacity)
{
    const size_t left = heard_end - heard_at;
    const size_t count = left < capacity ? left : capacity;

    memcpy(data, heard + heard_at, count);
    heard_at += (uint32_t)count;
    return count;
}

int hal_uart_write(const uint8_t *data, size_t length)
{
    (void)data;
    (void)length;
    return 1;
}

uint32_t hal_store_size(void)
{
    return 0;
}

void hal_store_read(uint32_t at, uint8_t *data, uint32_t length)
{
    (void)at;
    memset(data, 0, length);
}

void hal_store_write(uint32_t at, const uint8_t *data, uint32_t length)
{
    (void)at;
    (void)data;
    (void)length;
}

void hal_stack(uint16_t *used, uint16_t *left)
{
    *used = 0;
    *left = 0;
}

void hal_episode_begin(uint32_t episode_seed)
{
    (void)episode_seed;
}

void bench_prepare(void)
{
    firmware_init(&firmware, "measured", 0, 1);
}

void bench_between(unsigned vector)
{
    now_us += (uint32_t)ROBOT_CONTROL_PERIOD_US;
    heard_end = heard_ends[vector];
    firmware_poll(&firmware);
}

void bench_infer(const bench_input *x, bench_output *y)
{
    counts = x;
    command = y;
    firmware_tick(&firmware);
}

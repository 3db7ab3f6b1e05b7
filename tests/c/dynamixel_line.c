/*
 * The line of test_dynamixel_driver.py: what the driver sends goes to a function of Python's, what that returns is
 * received, and the clock moves while the driver waits, or when Python says so.
 */
#include <string.h>

#include "servos.h"

typedef size_t (*other_side)(const uint8_t *sent, size_t length, uint8_t *reply, size_t capacity);

static other_side other;
static uint8_t in[4096];
static size_t in_used, in_at;
static uint32_t now_us, trampled;
static struct servos servos;

size_t dxl_port_read(uint8_t *data, size_t capacity)
{
    const size_t count = capacity < in_used - in_at ? capacity : in_used - in_at;
    memcpy(data, in + in_at, count);
    in_at += count;
    return count;
}

int dxl_port_write(const uint8_t *data, size_t length)
{
    trampled += (uint32_t)(in_used - in_at); /* sent while there was something to be heard */
    in_used = other(data, length, in, sizeof in);
    in_at = 0;
    return in_used <= sizeof in;
}

uint32_t dxl_port_now_us(void) { return now_us; }
void dxl_port_wait(void) { now_us += 100; }

void line(other_side function) { other = function; in_used = in_at = 0; trampled = 0; }
uint32_t clock_us(void) { return now_us; }
uint32_t heard_too_late(void) { return trampled; }
void start(void) { servos_start(&servos, 1500, 16000); }
void check(void) { servos_check(&servos); }
void actuate(const int32_t *counts, int on) { servos_actuate(&servos, counts, on); }
void sense(int32_t *counts) { servos_sense(&servos, counts); }
void rest(void) { servos_rest(&servos); }
struct servos *state(void) { return &servos; }
int fault(void) { return servos.fault; }
uint32_t detail(void) { return servos.detail; }
uint32_t reused(void) { return servos.reused; }
int torque(void) { return servos.torque_on; }
int loose(int i) { return servos.loose[i]; }
int32_t position(int i) { return servos.positions[i]; }
uint32_t traffic(void) { return servos.bus.sent_bytes + servos.bus.received_bytes; }
uint32_t bad(void) { return servos.bus.receiver.bad; }

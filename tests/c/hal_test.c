/* The board of test_firmware_*.py: clock, line, sensors and actuators are variables that Python sets and reads. */
#include <string.h>
#include "firmware.h"
#include "hal.h"
struct firmware firmware;
static struct { uint32_t now; uint8_t in[4096], out[65536]; size_t in_used, in_at, out_used;
                int32_t sensors[ROBOT_SENSORS], actuators[ROBOT_ACTUATORS]; int torque, full; uint32_t seed; } hal;
void hal_sense(int32_t *s) { memcpy(s, hal.sensors, sizeof hal.sensors); }
void hal_actuate(const int32_t *a, int t) { memcpy(hal.actuators, a, sizeof hal.actuators); hal.torque = t; }
static struct hal_devices devices_;
static int looked;
void hal_devices(int anew, struct hal_devices *d) { looked += anew; *d = devices_; }
void devices(uint8_t fault, uint32_t detail, uint32_t reused)
{
    devices_.fault = fault;
    devices_.detail = detail;
    devices_.reused = reused;
}
int looks(void) { return looked; }
uint32_t hal_now_us(void) { return hal.now; }
size_t hal_uart_read(uint8_t *d, size_t n)
{
    if (n > hal.in_used - hal.in_at) { n = hal.in_used - hal.in_at; }
    memcpy(d, hal.in + hal.in_at, n);
    hal.in_at += n;
    return n;
}
int hal_uart_write(const uint8_t *d, size_t n)
{
    if (hal.full) { return 0; }
    memcpy(hal.out + hal.out_used, d, n);
    hal.out_used += n;
    return 1;
}
static uint8_t memory[1 << 16];
static uint32_t memory_size = sizeof memory;
static long writes_left = -1; /* bytes that are still written before the power goes; -1: it does not */
uint32_t hal_store_size(void) { return memory_size; }
void hal_store_read(uint32_t at, uint8_t *d, uint32_t n) { memcpy(d, memory + at, n); }
void hal_store_write(uint32_t at, const uint8_t *d, uint32_t n)
{
    uint32_t i;
    for (i = 0; i < n && writes_left != 0; i++) {
        memory[at + i] = d[i];
        if (writes_left > 0) { writes_left--; }
    }
}
void store_room(uint32_t size) { memory_size = size; }
void store_cut(long after) { writes_left = after; }
void new_chip(void) { memset(memory, 0xFF, sizeof memory); memory_size = sizeof memory; }
void hal_stack(uint16_t *used, uint16_t *left) { *used = 300; *left = 700; }
void hal_episode_begin(uint32_t seed) { hal.seed = seed; }
void boot(uint32_t now) { memset(&hal, 0, sizeof hal); devices(0, 0, 0); hal.now = now; hal.torque = -1;
                          firmware_init(&firmware, "test board", 7, 8); }
void receive(const uint8_t *d, size_t n)
{
    memcpy(hal.in, d, n);
    hal.in_used = n;
    hal.in_at = 0;
    firmware_poll(&firmware);
}
size_t sent(uint8_t *d) { const size_t n = hal.out_used; memcpy(d, hal.out, n); hal.out_used = 0; return n; }
void advance(uint32_t us) { hal.now += us; }
void tick(void) { firmware_tick(&firmware); }
void poll(void) { firmware_poll(&firmware); }
void line_full(int full) { hal.full = full; }
void sense(int i, int32_t v) { hal.sensors[i] = v; }
int torque(void) { return hal.torque; }
int32_t *actuators(void) { return hal.actuators; }
uint32_t seed(void) { return hal.seed; }
int state(void) { return firmware.state; }
void break_policy(void) { memset(firmware.params.candidate, 0xFF, sizeof firmware.params.candidate); }

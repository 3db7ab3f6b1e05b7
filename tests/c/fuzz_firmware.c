/*
 * fuzz_firmware.c - libFuzzer on the whole firmware: frame parser, commands, safety machine, episodes, store.
 *
 * The input is a script. Each step is a byte that says what happens, and what it needs: raw bytes on the line; a payload
 * that is put into an intact frame, so that the search is not for a CRC; the same with the session and the next sequence
 * filled in; sensors; time; control periods; a restart with the memory as it is. After each step the promises of
 * docs/safety.md are checked. scripts/fuzz builds and runs it.
 */
#include <stdlib.h>
#include <string.h>

#include "firmware.h"
#include "hal.h"

static struct firmware firmware;
static uint32_t now_us;
static const uint8_t *line;
static size_t line_left;
static int32_t sensors[ROBOT_SENSORS], actuators[ROBOT_ACTUATORS];
static int torque;
static uint8_t memory[2048];
static uint32_t fed_us; /* last time that something could have fed the watchdog */

void hal_sense(int32_t *out) { memcpy(out, sensors, sizeof sensors); }
void hal_actuate(const int32_t *wanted, int on) { memcpy(actuators, wanted, sizeof actuators); torque = on; }
void hal_devices(int anew, struct hal_devices *out) { (void)anew; memset(out, 0, sizeof *out); }
uint32_t hal_now_us(void) { return now_us; }
int hal_uart_write(const uint8_t *data, size_t length)
{
    if (length == 0 || length > BRIDGE_MAX_FRAME || data[length - 1] != 0 || memchr(data, 0, length - 1) != NULL) {
        abort(); /* not one frame */
    }
    return 1;
}
size_t hal_uart_read(uint8_t *data, size_t capacity)
{
    const size_t count = line_left < capacity ? line_left : capacity;
    memcpy(data, line, count);
    line += count;
    line_left -= count;
    return count;
}
uint32_t hal_store_size(void) { return sizeof memory; }
void hal_store_read(uint32_t at, uint8_t *data, uint32_t length) { memcpy(data, memory + at, length); }
void hal_store_write(uint32_t at, const uint8_t *data, uint32_t length)
{
    if (torque) {
        abort(); /* never while something moves */
    }
    memcpy(memory + at, data, length);
}
void hal_stack(uint16_t *used, uint16_t *left) { *used = 0; *left = 0; }
void hal_episode_begin(uint32_t seed) { (void)seed; }

static void receive(const uint8_t *data, size_t length)
{
    line = data;
    line_left = length;
    while (line_left > 0) {
        firmware_poll(&firmware);
    }
    firmware_poll(&firmware);
    fed_us = now_us;
}

static void receive_payload(const uint8_t *payload, size_t length)
{
    uint8_t frame[BRIDGE_MAX_FRAME];
    const size_t framed = bridge_frame(payload, length, frame);
    receive(frame, framed);
}

static void check(void)
{
    int i;
    if (firmware.state >= SAFETY_STATES || (torque && !safety_torque(firmware.state))) {
        abort(); /* torque is on in RUN and HOLD only; in RUN from the first command on */
    }
    for (i = 0; i < ROBOT_ACTUATORS; i++) {
        if (!torque && actuators[i] != robot_safe[i]) {
            abort();
        }
    }
    {
        int32_t clipped[ROBOT_ACTUATORS];
        memcpy(clipped, actuators, sizeof clipped);
        robot_clip(clipped);
        if (memcmp(clipped, actuators, sizeof clipped) != 0) {
            abort(); /* beyond the range */
        }
    }
    for (i = 0; i < POLICY_PARAMETERS; i++) {
        if (!params_finite(firmware.params.base[i])) {
            abort();
        }
    }
    if (firmware.params.base_crc != params_crc32(0, firmware.params.base, POLICY_PARAMETERS)) {
        abort();
    }
    if (torque && firmware.progress != PROGRESS_RUNNING && now_us - fed_us > (uint32_t)ROBOT_RELEASE_US + 1000000u) {
        abort(); /* the watchdog sleeps */
    }
}

static void boot(void)
{
    torque = 0;
    firmware_init(&firmware, "fuzz", 1, now_us);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *const end = data + size;

    now_us = 0;
    fed_us = 0;
    memset(memory, 0xFF, sizeof memory);
    memset(sensors, 0, sizeof sensors);
    boot();
    while (data < end) {
        const uint8_t what = *data++;
        const size_t left = (size_t)(end - data);
        size_t used = left > 0 ? data[0] : 0; /* length of what follows, where it has one */
        used = left > 0 && used > left - 1 ? left - 1 : used;
        switch (what % 8) {
        case 0:
            receive(data + (left > 0), used);
            data += (left > 0) + used;
            break;
        case 1:
            if (used > 0) {
                receive_payload(data + 1, used > BRIDGE_MAX_PAYLOAD ? BRIDGE_MAX_PAYLOAD : used);
            }
            data += (left > 0) + used;
            break;
        case 2: /* a command of the session in force */
        case 3: {
            uint8_t payload[BRIDGE_MAX_PAYLOAD] = {0};
            const uint8_t type = left > 0 ? data[0] : 0;
            const unsigned length = protocol_command_length(type);
            const size_t fields = length > PROTOCOL_HEADER_LENGTH ? length - PROTOCOL_HEADER_LENGTH : 0;
            const size_t given = left > 1 ? (left - 1 < fields ? left - 1 : fields) : 0;
            struct protocol_header header = {type, firmware.session, (uint16_t)(firmware.last_sequence + 1u), 0};
            if (type == MSG_HELLO && header.session == 0) {
                header.session = 1;
            }
            (void)protocol_header_put(payload, &header);
            if (given > 0) {
                memcpy(payload + PROTOCOL_HEADER_LENGTH, data + 1, given);
            }
            if (type == MSG_HELLO && what % 8 == 2) { /* so that the corpus outlives a change of the table */
                (void)put_u32(payload + PROTOCOL_HEADER_LENGTH + 2, (uint32_t)PROTOCOL_SCHEMA_HASH);
            }
            if (length > 0) {
                receive_payload(payload, length);
            }
            data += (left > 0) + given;
            break;
        }
        case 4:
            if (left >= 3) {
                sensors[data[0] % ROBOT_SENSORS] = (int16_t)(data[1] | data[2] << 8);
                data += 3;
            }
            break;
        case 5: { /* control periods */
            unsigned periods = left > 0 ? data[0] : 1;
            for (data += left > 0; periods > 0; periods--) {
                now_us += ROBOT_CONTROL_PERIOD_US;
                firmware_poll(&firmware);
                firmware_tick(&firmware);
                check();
            }
            break;
        }
        case 6:
            if (left >= 2) {
                unsigned milliseconds = (unsigned)(data[0] | data[1] << 8);
                for (data += 2; milliseconds > 0; milliseconds -= milliseconds > 50 ? 50 : milliseconds) {
                    now_us += 50000u;
                    firmware_poll(&firmware);
                    check();
                }
            }
            break;
        default:
            boot();
            break;
        }
        check();
    }
    return 0;
}

/* Before anything moves: whether everybody is there, well, and set up. */
#include <string.h>

#include "protocol.h"
#include "servos_talk.h"
#include "x_series.h"

#define HIGHEST_COUNT 0x40000000L /* beyond every range */

static const uint16_t gathered[] = {X_TORQUE_ENABLE,         X_HARDWARE_ERROR,        X_BUS_WATCHDOG,
                                    X_PRESENT_POSITION,      X_PRESENT_POSITION + 1u, X_PRESENT_POSITION + 2u,
                                    X_PRESENT_POSITION + 3u};

/* servos.c reads as many: no array has a negative length */
typedef char all_are_gathered[sizeof gathered / sizeof gathered[0] == SERVOS_GATHERED ? 1 : -1];

/* A register in EEPROM that must have a value; written where it has another one, for EEPROM wears. */
static enum dxl_result settle(struct servos *servos, int i, uint16_t address, uint8_t found, uint8_t wanted)
{
    return found == wanted ? DXL_OK : servos_write_one(servos, i, address, wanted, 1);
}

static int limits_hold_range(const uint8_t *limits, int i)
{
    int32_t low[ROBOT_ACTUATORS], high[ROBOT_ACTUATORS];
    int32_t first, last;
    int k;

    for (k = 0; k < ROBOT_ACTUATORS; k++) {
        low[k] = -HIGHEST_COUNT;
        high[k] = HIGHEST_COUNT;
    }
    robot_clip(low);
    robot_clip(high);
    first = WIRING_CENTRE + servos_signs[i] * low[i];
    last = WIRING_CENTRE + servos_signs[i] * high[i];
    return dxl_get_i32(limits) >= (first > last ? first : last) &&    /* maximum */
           dxl_get_i32(limits + 4) <= (first > last ? last : first); /* minimum */
}

static enum dxl_result gather(struct servos *servos, int i)
{
    enum dxl_result result = DXL_SILENT;
    struct dxl_packet packet;
    struct dxl_status status;
    int round;
    size_t k;

    for (round = 0; round <= SERVOS_ROUNDS && (result == DXL_SILENT || result == DXL_UNSENT); round++) {
        dxl_begin(&packet, servos_ids[i], DXL_WRITE);
        dxl_u16(&packet, X_INDIRECT_ADDRESS);
        for (k = 0; k < SERVOS_GATHERED; k++) {
            dxl_u16(&packet, gathered[k]);
        }
        result = dxl_send(&servos->bus, &packet);
        if (result == DXL_OK) {
            result = dxl_await(&servos->bus, servos_ids[i], 0, &status);
        }
    }
    return result;
}

/* DXL_REFUSED also for limits that cut the robot's range, or that are below the effort it is to have. */
static enum dxl_result set_up(struct servos *servos, int i)
{
    struct dxl_status status;
    enum dxl_result result = servos_read_one(servos, i, X_RETURN_DELAY, 3, &status);

    if (result == DXL_OK) {
        result = settle(servos, i, X_RETURN_DELAY, status.data[0], 0);
    }
    if (result == DXL_OK) {
        result = settle(servos, i, X_DRIVE_MODE, status.data[1], 0);
    }
    if (result == DXL_OK) {
        result = settle(servos, i, X_OPERATING_MODE, status.data[2], X_POSITION_CONTROL);
    }
    if (result == DXL_OK) {
        result = gather(servos, i);
    }
    if (result == DXL_OK) {
        result = servos_read_one(servos, i, X_MAX_POSITION, 8, &status);
    }
    if (result == DXL_OK && !limits_hold_range(status.data, i)) {
        result = DXL_REFUSED;
    }
    if (result == DXL_OK && servos_efforts[i] != 0) {
        result = servos_read_one(servos, i, X_PWM_LIMIT, 2, &status);
        if (result == DXL_OK && dxl_get_u16(status.data) < servos_efforts[i]) {
            result = DXL_REFUSED;
        }
    }
    return result;
}

static void check_servo(struct servos *servos, int i)
{
    struct dxl_status status;
    enum dxl_result result = servos_write_one(servos, i, X_TORQUE_ENABLE, 0, 1);

    servos->loose[i] = result != DXL_OK;
    if (result == DXL_OK) {
        result = servos_read_one(servos, i, X_HARDWARE_ERROR, 1, &status);
    }
    if (result == DXL_OK && status.data[0] != 0) {
        servos_blame(servos, FAULT_SERVO_ALERT, (uint32_t)servos_ids[i] | (uint32_t)status.data[0] << 8);
        return;
    }
    if (result == DXL_OK) {
        result = set_up(servos, i);
    }
    if (result == DXL_REFUSED) {
        servos_blame(servos, FAULT_SERVO_SETUP, servos_ids[i]);
    } else if (result != DXL_OK) {
        servos_lose(servos, i);
    } else {
        /* ready */
    }
}

void servos_check(struct servos *servos)
{
    static const uint8_t no_profile[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    const uint32_t start_us = dxl_port_now_us();
    struct dxl_status status;
    int i, here = 0;

    servos->fault = FAULT_NONE;
    servos->detail = 0;
    servos->torque_on = 0;
    memset(servos->misses, 0, sizeof servos->misses);
    memset(servos->lost, 0, sizeof servos->lost);
    servos_write_byte_all(servos, X_TORQUE_ENABLE, 0);
    servos_write_byte_all(servos, X_STATUS_RETURN, 2); /* all that follows is acknowledged */
    servos_write_all(servos, X_PROFILE, no_profile, sizeof no_profile);
    for (i = 0; i < SERVOS_MEMBERS; i++) {
        /* on a bus that is dead nobody has answered for so long, and asking all the others would take too long */
        const int dead = here == 0 && dxl_port_now_us() - start_us >= servos->budget_us;
        const int there = !dead && (dxl_ping(&servos->bus, servos_ids[i], &status) == DXL_OK ||
                                    dxl_ping(&servos->bus, servos_ids[i], &status) == DXL_OK);
        here += there;
        if (!there) {
            servos_lose(servos, i);
        } else if (i < WIRING_SERVOS) {
            check_servo(servos, i);
        } else {
            /* a device: there is nothing to set up */
        }
    }
    if (here == 0) {
        servos->detail = SERVOS_WHOLE_BUS;
    }
}

void servos_start(struct servos *servos, uint32_t timeout_us, uint32_t budget_us)
{
    memset(servos, 0, sizeof *servos);
    memset(servos->loose, 1, sizeof servos->loose);
    dxl_bus_init(&servos->bus, timeout_us);
    servos->budget_us = budget_us;
    servos_check(servos);
}

/* world_record.c - a robot that is not wired to this board: actuators and sensors are a record on UART 2. */
#include <string.h>

#include "hal.h"
#include "lockstep.h"
#include "record.h"
#include "uarts.h"

void world_start(int paced)
{
    (void)paced;
}

void world_rest(void)
{
}

uint32_t world_bus_baud(void)
{
    return 1000000u; /* nothing is on it */
}

void hal_devices(int anew, struct hal_devices *devices)
{
    (void)anew;
    memset(devices, 0, sizeof *devices);
}

void board_world(char kind, uint32_t episode_seed, uint64_t time_us, const int32_t *actuators, int torque_on,
                 int32_t *sensors)
{
    uint8_t request[REQUEST_BYTES];
    uint8_t reply[REPLY_BYTES];

    record_request(request, kind, episode_seed, time_us, actuators, torque_on);
    world_exchange(request, sizeof request, reply, sizeof reply);
    record_reply(reply, sensors);
}

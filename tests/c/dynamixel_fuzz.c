/*
 * The driver under sanitizers: standard input holds cases, each a length (4 bytes) and so many bytes that come over the
 * line. Mode `parse` prints the status packets among them. Mode `drive` plays a whole session with them as all that is
 * ever received, some with each packet that is sent, and checks what must hold whatever comes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol.h"
#include "servos.h"

#define LONGEST_US 60000000u

static const uint8_t *data;
static size_t left, in_hand;
static uint32_t now_us;
static unsigned torque_offs;

size_t dxl_port_read(uint8_t *out, size_t capacity)
{
    const size_t most = in_hand < left ? in_hand : left;
    const size_t count = capacity < most ? capacity : most;
    if (count > 0) {
        memcpy(out, data, count);
    }
    data += count;
    left -= count;
    in_hand -= count;
    return count;
}

int dxl_port_write(const uint8_t *bytes, size_t length)
{
    /* SYNC WRITE, torque enable, one byte each, 0 for the first */
    torque_offs += length > 14 && bytes[7] == DXL_SYNC_WRITE && bytes[8] == 64 && bytes[10] == 1 && bytes[13] == 0;
    in_hand = 240;
    return 1;
}

uint32_t dxl_port_now_us(void) { return now_us; }

void dxl_port_wait(void)
{
    now_us += 500;
    if (now_us > LONGEST_US) {
        fprintf(stderr, "the driver waits without end\n");
        abort();
    }
}

static void parse(void)
{
    static struct dxl_receiver receiver;
    struct dxl_status status;
    size_t i, k;

    memset(&receiver, 0, sizeof receiver);
    for (i = 0; i < left; i++) {
        dxl_push(&receiver, data[i]);
        while (dxl_take(&receiver, &status)) {
            printf("%02x%02x", status.id, status.error);
            for (k = 0; k < status.length; k++) {
                printf("%02x", status.data[k]);
            }
            printf("\n");
        }
    }
    printf(".\n");
}

static void drive(void)
{
    static struct servos servos;
    const int32_t goals[ROBOT_ACTUATORS] = {0};
    int32_t sensors[ROBOT_SENSORS];
    int tick;

    now_us = 0;
    servos_start(&servos, 1500, 16000);
    servos.fault = FAULT_NONE; /* so that what follows is reached */
    for (tick = 0; tick < 12; tick++) {
        servos_actuate(&servos, goals, servos.fault == FAULT_NONE);
        servos_sense(&servos, sensors);
    }
    torque_offs = 0;
    servos_actuate(&servos, goals, 0);
    if (torque_offs == 0 || servos.torque_on) {
        fprintf(stderr, "torque was not taken off\n");
        abort();
    }
    servos_rest(&servos);
    printf("%d\n", servos.fault);
}

int main(int argc, char **argv)
{
    static uint8_t bytes[1 << 16];
    uint8_t size[4];

    while (argc == 2 && fread(size, 1, 4, stdin) == 4) {
        const size_t length = (size_t)size[0] | (size_t)size[1] << 8 | (size_t)size[2] << 16;
        uint8_t *exact; /* its end is where the sanitizer stands */
        if (length > sizeof bytes || fread(bytes, 1, length, stdin) != length) {
            return 1;
        }
        exact = malloc(length + 1);
        if (exact == NULL) {
            return 1;
        }
        memcpy(exact, bytes, length);
        data = exact;
        left = length;
        in_hand = 0;
        if (strcmp(argv[1], "parse") == 0) {
            parse();
        } else {
            drive();
        }
        free(exact);
    }
    return 0;
}

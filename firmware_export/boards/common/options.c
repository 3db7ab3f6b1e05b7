#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "world.h"

struct options options_parse(int argc, char **argv, int first, const char *usage)
{
    struct options options = {-1, -1, 0, 0, 0, NULL, NULL};
    int understood = 1;
    char rest;
    int i;

    for (i = first; i < argc; i++) {
        const char *const value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--paced") == 0) {
            options.paced = 1;
        } else if (strcmp(argv[i], "--plant-fd") == 0 && sscanf(value, "%d%c", &options.plant_fd, &rest) == 1) {
            i++;
        } else if (strcmp(argv[i], "--bus-fd") == 0 && sscanf(value, "%d%c", &options.bus_fd, &rest) == 1) {
            i++;
        } else if (strcmp(argv[i], "--unplug-at") == 0 &&
                   sscanf(value, "%u:%u%c", &options.unplug_episode, &options.unplug_tick, &rest) == 2 &&
                   options.unplug_episode > 0) {
            i++;
        } else if (strcmp(argv[i], "--store") == 0 && i + 1 < argc) {
            options.store = argv[++i];
        } else if (strcmp(argv[i], "--report") == 0 && i + 1 < argc) {
            options.report = argv[++i];
        } else {
            understood = 0;
        }
    }
    if (!understood || options.plant_fd < 0) {
        errno = 0;
        die(usage);
    }
    return options;
}

#include "fieldfit.h"
#include <stdio.h>

int answer(const unsigned char *pixels, size_t length) {
    fieldfit_options options = fieldfit_options_init();
    options.model = "models/efficientnet-lite0";
    fieldfit_runtime *runtime = NULL;
    fieldfit_error *error = NULL;
    fieldfit_status status = fieldfit_open(&options, &runtime, &error);

    fieldfit_frame frame = fieldfit_frame_init();
    frame.format = FIELDFIT_BGR8;
    frame.data = pixels;
    frame.length = length;
    frame.width = 640;
    frame.height = 480;
    fieldfit_prediction prediction = fieldfit_prediction_init();
    if (status == FIELDFIT_OK) status = fieldfit_infer(runtime, &frame, &prediction, &error);
    if (status == FIELDFIT_OK) {
        printf("%s\n", prediction.top[0].label);
    } else {
        fprintf(stderr, "%s\n", fieldfit_error_message(error));
        fieldfit_error_free(error);
    }
    fieldfit_close(runtime);
    return status;
}

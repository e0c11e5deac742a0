// The C++ interface without exceptions: interface_no_exceptions MODEL
//
// Catches: a header that throws, an error that is lost in an Expected.

#define FIELDFIT_NO_EXCEPTIONS
#include "check.h"
#include "images.hpp"

int main(int argc, char **argv) {
    CHECK(argc == 2);
    const fieldfit::Expected<fieldfit::Runtime> nowhere = fieldfit::Runtime::open({"/nowhere"});
    CHECK(!nowhere && nowhere.error().status() == FIELDFIT_MODEL);
    CHECK(std::string_view(nowhere.error().what()).find("nowhere") != std::string_view::npos);

    fieldfit::Expected<fieldfit::Runtime> opened = fieldfit::Runtime::open({argv[1]});
    CHECK(opened);
    fieldfit::Runtime runtime = *std::move(opened);
    const Picture picture(1);
    const fieldfit::Expected<fieldfit::Prediction> prediction = runtime.infer(picture.frame());
    CHECK(prediction && prediction->best().probability > 0 && runtime.version()->is_base());
    CHECK(runtime.labels()->size() == 1000);
    const fieldfit::Expected<void> confirmed = runtime.confirm();
    CHECK(!confirmed && confirmed.error().status() == FIELDFIT_STORE);
    CHECK(!runtime.teach("mud", {picture.frame()}) && !runtime.rollback() && !runtime.add("a.delta"));
    CHECK(runtime.poll() && !*runtime.poll() && runtime.on_notice({}) && runtime.drift());

    fieldfit::Expected<fieldfit::Adaptation> adaptation = runtime.adapt("/nowhere");
    CHECK(adaptation && adaptation->pause() && adaptation->resume() && adaptation->stop());
    CHECK(!adaptation->wait() && adaptation->is_done());
    puts("the C++ interface holds without exceptions");
    return 0;
}

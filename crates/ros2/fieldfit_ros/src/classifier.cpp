// Composable lifecycle node over fieldfit.hpp: in the process of the camera's driver, an image is read where the driver wrote it.
//
// Topics, services and parameters are those of fieldfit-ros2, as far as this one has them. Not built here: no rclcpp.

#include <fieldfit.hpp>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <rclcpp/rclcpp.hpp>
#include <rclcpp_components/register_node_macro.hpp>
#include <rclcpp_lifecycle/lifecycle_node.hpp>
#include <sensor_msgs/msg/image.hpp>
#include <std_msgs/msg/string.hpp>
#include <std_srvs/srv/trigger.hpp>
#include <vision_msgs/msg/classification.hpp>

namespace fieldfit_ros {

using CallbackReturn = rclcpp_lifecycle::node_interfaces::LifecycleNodeInterface::CallbackReturn;
using std_srvs::srv::Trigger;

class Classifier : public rclcpp_lifecycle::LifecycleNode {
public:
    explicit Classifier(const rclcpp::NodeOptions &options) : LifecycleNode("fieldfit", options) {
        declare("model", std::string(), "Model folder");
        declare("store", std::string(), "Folder of the versions; empty runs the base alone");
        declare("images", std::string(), "Folder of labelled images, one folder a class, that ~/adapt trains on");
        declare("adaptation", std::string(R"({"nice":10})"), "Options of an adaptation as a JSON object");
        declare("threads", 0, "Threads of inference; 0 takes all cores");
        // What may change while the node runs.
        declare_parameter("top_k", 5);
        declare_parameter("min_probability", 0.0);
        on_set_ = add_on_set_parameters_callback([](const std::vector<rclcpp::Parameter> &parameters) { return check(parameters); });
        if (declare_parameter("autostart", true)) {
            // Once the executor spins: a transition needs the node to be whole.
            start_ = create_wall_timer(std::chrono::milliseconds(0), [this] {
                start_->cancel();
                if (configure().label() == "inactive") activate();
            });
        }
    }

private:
    CallbackReturn on_configure(const rclcpp_lifecycle::State &) override {
        fieldfit::Options options{get_parameter("model").as_string()};
        options.store = get_parameter("store").as_string();
        options.threads = static_cast<std::uint32_t>(get_parameter("threads").as_int());
        options.flags = FIELDFIT_CREATE_STORE;
        try {
            runtime_.emplace(fieldfit::Runtime::open(options));
        } catch (const fieldfit::Error &error) {
            RCLCPP_ERROR(get_logger(), "cannot open the model: %s", error.what());
            return CallbackReturn::FAILURE;
        }
        events_ = create_publisher<std_msgs::msg::String>("~/events", 10);
        answers_ = create_publisher<vision_msgs::msg::Classification>("~/classification", 10);
        runtime_->on_notice([this](std::string_view json) { tell(json); });
        offer("~/adapt", [this] { return adapt(); });
        offer("~/stop_adaptation", [this] { return stop_adaptation(); });
        offer("~/confirm", [this] {
            runtime_->confirm();
            return runtime_->version().to_string() + " is confirmed";
        });
        offer("~/rollback", [this] { return runtime_->rollback().to_string() + " runs now"; });
        poll_ = create_wall_timer(std::chrono::seconds(1), [this] { poll(); });
        return CallbackReturn::SUCCESS;
    }

    CallbackReturn on_activate(const rclcpp_lifecycle::State &state) override {
        LifecycleNode::on_activate(state);
        images_ = create_subscription<sensor_msgs::msg::Image>(
            "~/image", rclcpp::SensorDataQoS().keep_last(1), [this](sensor_msgs::msg::Image::ConstSharedPtr image) { classify(*image); });
        return CallbackReturn::SUCCESS;
    }

    CallbackReturn on_deactivate(const rclcpp_lifecycle::State &state) override {
        images_.reset();
        return LifecycleNode::on_deactivate(state);
    }

    CallbackReturn on_cleanup(const rclcpp_lifecycle::State &) override {
        images_.reset();
        poll_.reset();
        services_.clear();
        // It stops, and its thread ends, before the runtime does.
        adaptation_.reset();
        runtime_.reset();
        answers_.reset();
        events_.reset();
        return CallbackReturn::SUCCESS;
    }

    CallbackReturn on_shutdown(const rclcpp_lifecycle::State &state) override { return on_cleanup(state); }

    void classify(const sensor_msgs::msg::Image &image) {
        try {
            const fieldfit::Prediction prediction = runtime_->infer(image);
            auto answer = std::make_unique<vision_msgs::msg::Classification>();
            answer->header = image.header;
            const auto most = std::min<std::size_t>(prediction.size(), get_parameter("top_k").as_int());
            const double least = get_parameter("min_probability").as_double();
            for (std::size_t rank = 0; rank < most && prediction[rank].probability >= least; ++rank) {
                vision_msgs::msg::ObjectHypothesis &hypothesis = answer->results.emplace_back();
                hypothesis.class_id = prediction[rank].label;
                hypothesis.score = prediction[rank].probability;
            }
            answers_->publish(std::move(answer));
        } catch (const fieldfit::Error &error) {
            RCLCPP_WARN_THROTTLE(get_logger(), *get_clock(), 1000, "an image is not answered: %s", error.what());
        }
    }

    std::string adapt() {
        if (adaptation_ && !adaptation_->is_done()) throw fieldfit::Error(FIELDFIT_RUNNING, "an adaptation is running");
        const std::string images = get_parameter("images").as_string();
        adaptation_.emplace(
            runtime_->adapt(images, get_parameter("adaptation").as_string(), [this](std::string_view json) { tell(json); }));
        return "an adaptation to " + images + " has begun; ~/events says how it goes";
    }

    std::string stop_adaptation() {
        if (!adaptation_ || adaptation_->is_done()) throw fieldfit::Error(FIELDFIT_FAILED, "no adaptation is running");
        adaptation_->stop();
        return "the adaptation stops after its batch";
    }

    // Runs what another process has activated.
    void poll() {
        try {
            runtime_->poll();
        } catch (const fieldfit::Error &error) {
            RCLCPP_WARN_THROTTLE(get_logger(), *get_clock(), 10000, "the store cannot be read: %s", error.what());
        }
    }

    // Publishes an event; any thread of the runtime's calls it.
    void tell(std::string_view json) {
        const std::lock_guard lock(telling_);
        std_msgs::msg::String event;
        event.data = json;
        events_->publish(event);
    }

    void offer(const std::string &name, std::function<std::string()> work) {
        services_.push_back(create_service<Trigger>(
            name, [work = std::move(work)](const Trigger::Request::SharedPtr, const Trigger::Response::SharedPtr response) {
                try {
                    response->message = work();
                    response->success = true;
                } catch (const fieldfit::Error &error) {
                    response->message = error.what();
                }
            }));
    }

    // Declares a parameter that is read when the node is configured and cannot be changed.
    template <class T> void declare(const std::string &name, T value, const std::string &description) {
        rcl_interfaces::msg::ParameterDescriptor descriptor;
        descriptor.description = description;
        descriptor.read_only = true;
        declare_parameter(name, value, descriptor);
    }

    static rcl_interfaces::msg::SetParametersResult check(const std::vector<rclcpp::Parameter> &parameters) {
        rcl_interfaces::msg::SetParametersResult result;
        result.successful = true;
        for (const rclcpp::Parameter &parameter : parameters) {
            if (parameter.get_name() == "top_k" && (parameter.as_int() < 1 || parameter.as_int() > 16)) {
                result.successful = false;
                result.reason = "`top_k`: expected an integer of 1 to 16";
            }
            if (parameter.get_name() == "min_probability" && !(parameter.as_double() >= 0 && parameter.as_double() <= 1)) {
                result.successful = false;
                result.reason = "`min_probability`: expected a number of 0 to 1";
            }
        }
        return result;
    }

    std::mutex telling_;
    rclcpp_lifecycle::LifecyclePublisher<std_msgs::msg::String>::SharedPtr events_;
    rclcpp_lifecycle::LifecyclePublisher<vision_msgs::msg::Classification>::SharedPtr answers_;
    std::optional<fieldfit::Runtime> runtime_;
    // Destroyed before the runtime, which must outlive it.
    std::optional<fieldfit::Adaptation> adaptation_;
    rclcpp::Subscription<sensor_msgs::msg::Image>::SharedPtr images_;
    std::vector<rclcpp::Service<Trigger>::SharedPtr> services_;
    rclcpp::TimerBase::SharedPtr start_, poll_;
    rclcpp::node_interfaces::OnSetParametersCallbackHandle::SharedPtr on_set_;
};

} // namespace fieldfit_ros

RCLCPP_COMPONENTS_REGISTER_NODE(fieldfit_ros::Classifier)

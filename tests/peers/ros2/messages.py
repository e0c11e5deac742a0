"""Messages of ROS 2 as Cyclone DDS sends them: the types of the topics, and of services with the header of rmw_cyclonedds_cpp."""

from dataclasses import dataclass, field
from types import new_class

from cyclonedds.idl import IdlStruct
from cyclonedds.idl._machinery import BytesMachine, PlainCdrV2SequenceOfPrimitiveMachine as SequenceMachine
from cyclonedds.idl.types import array, float64, int32, int64, sequence, uint8, uint32, uint64


def whole(machine: SequenceMachine, buffer: object, value: object, *rest: object) -> None:
    """Writes the bytes of an image at once: a sequence would write a million of them one by one."""
    if isinstance(value, bytes):
        BytesMachine().serialize(buffer, value)
    else:
        one_by_one(machine, buffer, value, *rest)


one_by_one, SequenceMachine.serialize = SequenceMachine.serialize, whole


def name(package: str, kind: str, base: str) -> str:
    """A type's name on the network."""
    return f"{package}::{kind}::dds_::{base}_"


@dataclass
class Time(IdlStruct, typename=name("builtin_interfaces", "msg", "Time")):
    sec: int32 = 0
    nanosec: uint32 = 0


@dataclass
class Header(IdlStruct, typename=name("std_msgs", "msg", "Header")):
    stamp: Time = field(default_factory=Time)
    frame_id: str = ""


@dataclass
class String(IdlStruct, typename=name("std_msgs", "msg", "String")):
    data: str = ""


@dataclass
class Image(IdlStruct, typename=name("sensor_msgs", "msg", "Image")):
    header: Header
    height: uint32
    width: uint32
    encoding: str
    is_bigendian: uint8
    step: uint32
    data: sequence[uint8]


@dataclass
class CompressedImage(IdlStruct, typename=name("sensor_msgs", "msg", "CompressedImage")):
    header: Header
    format: str
    data: sequence[uint8]


@dataclass
class ObjectHypothesis(IdlStruct, typename=name("vision_msgs", "msg", "ObjectHypothesis")):
    class_id: str
    score: float64


@dataclass
class Classification(IdlStruct, typename=name("vision_msgs", "msg", "Classification")):
    header: Header
    results: sequence[ObjectHypothesis]


@dataclass
class Point(IdlStruct, typename=name("geometry_msgs", "msg", "Point")):
    x: float64 = 0.0
    y: float64 = 0.0
    z: float64 = 0.0


@dataclass
class Quaternion(IdlStruct, typename=name("geometry_msgs", "msg", "Quaternion")):
    x: float64 = 0.0
    y: float64 = 0.0
    z: float64 = 0.0
    w: float64 = 1.0


@dataclass
class Pose(IdlStruct, typename=name("geometry_msgs", "msg", "Pose")):
    position: Point = field(default_factory=Point)
    orientation: Quaternion = field(default_factory=Quaternion)


@dataclass
class PoseWithCovariance(IdlStruct, typename=name("geometry_msgs", "msg", "PoseWithCovariance")):
    pose: Pose = field(default_factory=Pose)
    covariance: array[float64, 36] = field(default_factory=lambda: [0.0] * 36)


@dataclass
class ObjectHypothesisWithPose(IdlStruct, typename=name("vision_msgs", "msg", "ObjectHypothesisWithPose")):
    hypothesis: ObjectHypothesis
    pose: PoseWithCovariance = field(default_factory=PoseWithCovariance)


@dataclass
class Point2D(IdlStruct, typename=name("vision_msgs", "msg", "Point2D")):
    x: float64
    y: float64


@dataclass
class Pose2D(IdlStruct, typename=name("vision_msgs", "msg", "Pose2D")):
    position: Point2D
    theta: float64


@dataclass
class BoundingBox2D(IdlStruct, typename=name("vision_msgs", "msg", "BoundingBox2D")):
    center: Pose2D
    size_x: float64
    size_y: float64


@dataclass
class Detection2D(IdlStruct, typename=name("vision_msgs", "msg", "Detection2D")):
    header: Header
    results: sequence[ObjectHypothesisWithPose]
    bbox: BoundingBox2D
    id: str


@dataclass
class Detection2DArray(IdlStruct, typename=name("vision_msgs", "msg", "Detection2DArray")):
    header: Header
    detections: sequence[Detection2D]


@dataclass
class KeyValue(IdlStruct, typename=name("diagnostic_msgs", "msg", "KeyValue")):
    key: str
    value: str


@dataclass
class DiagnosticStatus(IdlStruct, typename=name("diagnostic_msgs", "msg", "DiagnosticStatus")):
    level: uint8
    name: str
    message: str
    hardware_id: str
    values: sequence[KeyValue]


@dataclass
class DiagnosticArray(IdlStruct, typename=name("diagnostic_msgs", "msg", "DiagnosticArray")):
    header: Header
    status: sequence[DiagnosticStatus]


@dataclass
class State(IdlStruct, typename=name("lifecycle_msgs", "msg", "State")):
    id: uint8
    label: str


@dataclass
class Transition(IdlStruct, typename=name("lifecycle_msgs", "msg", "Transition")):
    id: uint8
    label: str


@dataclass
class TransitionEvent(IdlStruct, typename=name("lifecycle_msgs", "msg", "TransitionEvent")):
    timestamp: uint64
    transition: Transition
    start_state: State
    goal_state: State


@dataclass
class ParameterValue(IdlStruct, typename=name("rcl_interfaces", "msg", "ParameterValue")):
    type: uint8 = 0
    bool_value: bool = False
    integer_value: int64 = 0
    double_value: float64 = 0.0
    string_value: str = ""
    byte_array_value: sequence[uint8] = field(default_factory=list)
    bool_array_value: sequence[bool] = field(default_factory=list)
    integer_array_value: sequence[int64] = field(default_factory=list)
    double_array_value: sequence[float64] = field(default_factory=list)
    string_array_value: sequence[str] = field(default_factory=list)


@dataclass
class Parameter(IdlStruct, typename=name("rcl_interfaces", "msg", "Parameter")):
    name: str
    value: ParameterValue


@dataclass
class SetParametersResult(IdlStruct, typename=name("rcl_interfaces", "msg", "SetParametersResult")):
    successful: bool
    reason: str


@dataclass
class FloatingPointRange(IdlStruct, typename=name("rcl_interfaces", "msg", "FloatingPointRange")):
    from_value: float64
    to_value: float64
    step: float64


@dataclass
class IntegerRange(IdlStruct, typename=name("rcl_interfaces", "msg", "IntegerRange")):
    from_value: int64
    to_value: int64
    step: uint64


@dataclass
class ParameterDescriptor(IdlStruct, typename=name("rcl_interfaces", "msg", "ParameterDescriptor")):
    name: str
    type: uint8
    description: str
    additional_constraints: str
    read_only: bool
    dynamic_typing: bool
    floating_point_range: sequence[FloatingPointRange, 1]
    integer_range: sequence[IntegerRange, 1]


@dataclass
class ParameterEvent(IdlStruct, typename=name("rcl_interfaces", "msg", "ParameterEvent")):
    stamp: Time
    node: str
    new_parameters: sequence[Parameter]
    changed_parameters: sequence[Parameter]
    deleted_parameters: sequence[Parameter]


class Service:
    """A service: its package and name, and the fields of request and response."""

    def __init__(self, package: str, base: str, request: dict, response: dict) -> None:
        self.package, self.base, self.fields = package, base, {"Request": request, "Response": response}

    def types(self, has_header: bool) -> tuple[type, type]:
        """Types of request and response, behind rmw_cyclonedds_cpp's header or alone."""
        header = {"client": uint64, "number": int64} if has_header else {}

        def made(part: str) -> type:
            fields = header | (self.fields[part] or {"structure_needs_at_least_one_member": uint8})
            keywords = {"typename": name(self.package, "srv", f"{self.base}_{part}")}
            body = {"__annotations__": fields, "__module__": __name__}
            return dataclass(new_class(part, (IdlStruct,), keywords, lambda namespace: namespace.update(body)))

        return made("Request"), made("Response")


TRIGGER = Service("std_srvs", "Trigger", {}, {"success": bool, "message": str})
LABEL = Service("fieldfit_interfaces", "Label", {"class_name": str, "seconds": float64}, {"success": bool, "message": str})
GET_STATE = Service("lifecycle_msgs", "GetState", {}, {"current_state": State})
CHANGE_STATE = Service("lifecycle_msgs", "ChangeState", {"transition": Transition}, {"success": bool})
GET_STATES = Service("lifecycle_msgs", "GetAvailableStates", {}, {"available_states": sequence[State]})
GET_PARAMETERS = Service("rcl_interfaces", "GetParameters", {"names": sequence[str]}, {"values": sequence[ParameterValue]})
SET_PARAMETERS = Service("rcl_interfaces", "SetParameters",
                         {"parameters": sequence[Parameter]}, {"results": sequence[SetParametersResult]})
DESCRIBE_PARAMETERS = Service("rcl_interfaces", "DescribeParameters",
                              {"names": sequence[str]}, {"descriptors": sequence[ParameterDescriptor]})

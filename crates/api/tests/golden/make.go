// Makes golden.json: what upstream's own Go code writes and says, for the tests of crates/api.
// Run by hand, in a scratch folder with a go.mod that requires k8s.io/api and k8s.io/apimachinery of the release named
// in xtask/src/codegen.rs:
//
//	go run make.go > golden.json
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	serjson "k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/util/intstr"
)

type object struct {
	JSON     json.RawMessage `json:"json"`
	Protobuf string          `json:"protobuf"`
}

type refusal struct {
	Group   string `json:"group"`
	Version string `json:"version"`
	Kind    string `json:"kind"`
	Body    string `json:"body"`
	Error   string `json:"error"`
}

func ptr[T any](v T) *T { return &v }

func objects() []runtime.Object {
	at := metav1.NewTime(time.Date(2026, 11, 21, 7, 30, 15, 0, time.UTC))
	micro := metav1.NewMicroTime(time.Date(2026, 11, 21, 7, 30, 15, 123456000, time.UTC))
	meta := metav1.ObjectMeta{Name: "redis", Namespace: "default", UID: "0a", ResourceVersion: "7", Generation: 2,
		CreationTimestamp: at, Labels: map[string]string{"app": "redis", "a": "b"}, Finalizers: []string{"x/y"},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: "p", UID: "u", Controller: ptr(true)}},
		ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "m", Operation: "Update", APIVersion: "v1", Time: &at,
			FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(`{"f:data":{".":{}}}`)}}}
	kind := func(apiVersion, kind string) metav1.TypeMeta {
		return metav1.TypeMeta{APIVersion: apiVersion, Kind: kind}
	}
	container := corev1.Container{Name: "redis", Image: "redis:7", Command: []string{"sh", "-c", "true"},
		Ports: []corev1.ContainerPort{{ContainerPort: 6379, Protocol: "TCP"}},
		Env: []corev1.EnvVar{{Name: "A", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: "s"}, Key: "k", Optional: ptr(false)}}}},
		Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{"memory": resource.MustParse("64Mi"), "cpu": resource.MustParse("1500m")}},
		ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromString("web"), Scheme: "HTTP"}}, PeriodSeconds: 5},
		LivenessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(80)}}},
		VolumeMounts: []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}}
	pod := corev1.PodSpec{Containers: []corev1.Container{container}, TerminationGracePeriodSeconds: ptr(int64(0)),
		Volumes: []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: ptr(resource.MustParse("1Gi"))}}},
			{Name: "w", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "c"}, DefaultMode: ptr(int32(420))}}}},
		EphemeralContainers: []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Image: "busybox"}, TargetContainerName: "redis"}},
		Tolerations: []corev1.Toleration{{Key: "k", Operator: "Exists", TolerationSeconds: ptr(int64(-1))}}}
	claim := corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "data"}, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{"ReadWriteOnce"},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{"storage": resource.MustParse("1Gi")}}}}
	return []runtime.Object{
		&corev1.ConfigMap{TypeMeta: kind("v1", "ConfigMap"), ObjectMeta: meta, Data: map[string]string{"k": "v", "e": ""}, BinaryData: map[string][]byte{"b": {0, 255}}, Immutable: ptr(false)},
		&corev1.Pod{TypeMeta: kind("v1", "Pod"), ObjectMeta: meta, Spec: pod, Status: corev1.PodStatus{Phase: "Running", StartTime: &at, PodIPs: []corev1.PodIP{{IP: "10.0.0.1"}}}},
		&appsv1.StatefulSet{TypeMeta: kind("apps/v1", "StatefulSet"), ObjectMeta: meta, Spec: appsv1.StatefulSetSpec{Replicas: ptr(int32(0)), ServiceName: "redis",
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "redis"}, MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "k", Operator: "In", Values: []string{"v"}}}},
			Template: corev1.PodTemplateSpec{Spec: pod}, VolumeClaimTemplates: []corev1.PersistentVolumeClaim{claim},
			UpdateStrategy: appsv1.StatefulSetUpdateStrategy{Type: "RollingUpdate", RollingUpdate: &appsv1.RollingUpdateStatefulSetStrategy{Partition: ptr(int32(0)), MaxUnavailable: ptr(intstr.FromString("25%"))}}},
			Status: appsv1.StatefulSetStatus{CollisionCount: ptr(int32(0))}},
		&appsv1.ControllerRevision{TypeMeta: kind("apps/v1", "ControllerRevision"), ObjectMeta: meta, Data: runtime.RawExtension{Raw: []byte(`{"spec":{"template":{"$patch":"replace"}}}`)}, Revision: 3},
		&corev1.Service{TypeMeta: kind("v1", "Service"), ObjectMeta: meta, Spec: corev1.ServiceSpec{ClusterIP: "None", Ports: []corev1.ServicePort{{Name: "a", Port: 80, TargetPort: intstr.FromInt32(8080)}, {Name: "b", Port: 81, TargetPort: intstr.FromString("b")}}}},
		&discoveryv1.EndpointSlice{TypeMeta: kind("discovery.k8s.io/v1", "EndpointSlice"), ObjectMeta: meta, AddressType: "IPv4",
			Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.0.0.1"}, Conditions: discoveryv1.EndpointConditions{Ready: ptr(true), Serving: ptr(false)}, NodeName: ptr("n")}}, Ports: []discoveryv1.EndpointPort{{Name: ptr(""), Port: ptr(int32(80))}}},
		&eventsv1.Event{TypeMeta: kind("events.k8s.io/v1", "Event"), ObjectMeta: meta, EventTime: micro, Action: "a", Reason: "r", DeprecatedCount: 2, DeprecatedLastTimestamp: at},
		&autoscalingv1.Scale{TypeMeta: kind("autoscaling/v1", "Scale"), ObjectMeta: meta, Spec: autoscalingv1.ScaleSpec{Replicas: 3}, Status: autoscalingv1.ScaleStatus{Replicas: 1, Selector: "a=b"}},
		&metav1.Status{TypeMeta: kind("v1", "Status"), Status: "Failure", Reason: "NotFound", Code: 404, Message: "no", Details: &metav1.StatusDetails{Name: "n", UID: "u", Kind: "pods", RetryAfterSeconds: 1, Causes: []metav1.StatusCause{{Type: "t", Message: "m", Field: "f"}}}},
		&metav1.DeleteOptions{TypeMeta: kind("v1", "DeleteOptions"), GracePeriodSeconds: ptr(int64(0)), PropagationPolicy: ptr(metav1.DeletePropagationForeground), Preconditions: &metav1.Preconditions{UID: ptr(meta.UID)}, DryRun: []string{"All"}},
		&corev1.PodList{TypeMeta: kind("v1", "PodList"), ListMeta: metav1.ListMeta{ResourceVersion: "9", RemainingItemCount: ptr(int64(2))}, Items: []corev1.Pod{{ObjectMeta: meta, Spec: pod}, {ObjectMeta: metav1.ObjectMeta{Name: "b"}}}},
	}
}

// Bodies that strict decoding refuses.
var bodies = [][3]string{
	{"apps/v1", "StatefulSet", `{"spec":{"replicas":"3"}}`},
	{"apps/v1", "StatefulSet", `{"spec":{"replicas":1.5}}`},
	{"apps/v1", "StatefulSet", `{"spec":{"template":{"spec":{"containers":{"name":"redis"}}}}}`},
	{"apps/v1", "StatefulSet", `{"spec":{"foo":1,"template":{"spec":{"volumeClaimTemplates":[{}]}}}}`},
	{"apps/v1", "StatefulSet", `{"spec":{"replicas":1,"replicas":2,"template":{"spec":{"containers":[{"name":"a"},{"name":"b","imagee":"x"}]}}}}`},
	{"v1", "Pod", `{"spec":{"containers":[{"name":5}]}}`},
	{"v1", "Pod", `{"spec":{"containers":["x"]}}`},
	{"v1", "Pod", `{"spec":{"containers":[{"args":[1]}]}}`},
	{"v1", "Pod", `{"spec":{"containers":[{"ports":[{"containerPort":3000000000}]}]}}`},
	{"v1", "Pod", `{"spec":{"containers":[{"env":{"A":"B"}}]}}`},
	{"v1", "Pod", `{"spec":{"containers":[{"command":"sleep 5"}]}}`},
	{"v1", "Pod", `{"spec":{"containers":[{"resources":{"limits":["1"]}}]}}`},
	{"v1", "Pod", `{"spec":{"containers":[{"resources":{"requests":{"memory":"1Gb"}}}]}}`},
	{"v1", "Pod", `{"spec":{"containers":[{"resources":{"requests":{"memory":true}}}]}}`},
	{"v1", "Pod", `{"spec":{"containers":[{"resources":{"requests":{"memory":""}}}]}}`},
	{"v1", "Pod", `{"spec":{"containers":[{"readinessProbe":{"httpGet":{"port":true}}}]}}`},
	{"v1", "Pod", `{"spec":{"containers":[{"readinessProbe":{"httpGet":"x"}}]}}`},
	{"v1", "Pod", `{"spec":{"volumes":[{"emptyDir":"x"}]}}`},
	{"v1", "Pod", `{"spec":{"volumes":[{"configMap":{"name":1}}]}}`},
	{"v1", "Pod", `{"spec":{"volumes":[{"configMap":{"name":"a","nam":"b"}}]}}`},
	{"v1", "Pod", `{"spec":{"terminationGracePeriodSeconds":"5"}}`},
	{"v1", "Pod", `{"spec":{"restartPolicy":1}}`},
	{"v1", "Pod", `{"spec":{"hostNetwork":"yes"}}`},
	{"v1", "Pod", `{"spec":"x"}`},
	{"v1", "Pod", `{"metadata":{"labels":{"a":1,"b":{}}}}`},
	{"v1", "Pod", `{"metadata":{"labels":["a"]}}`},
	{"v1", "Pod", `{"metadata":{"labels":{"a":"1","a":"2"}}}`},
	{"v1", "Pod", `{"metadata":{"creationTimestamp":5}}`},
	{"v1", "Pod", `{"metadata":{"creationTimestamp":"yesterday"}}`},
	{"v1", "Pod", `{"metadata":{"deletionTimestamp":"2026-13-01T00:00:00Z"}}`},
	{"v1", "Pod", `{"Spec":{},"metadata":{"Name":"x"}}`},
	{"v1", "Service", `{"spec":{"ports":[{"targetPort":true}]}}`},
	{"v1", "Service", `{"spec":{"ports":[{"targetPort":3000000000}]}}`},
	{"v1", "Secret", `{"data":{"a":"!!!!"}}`},
	{"v1", "Secret", `{"data":{"a":"YQ"}}`},
	{"v1", "Secret", `{"data":{"a":5}}`},
	{"v1", "ConfigMap", `{"data":{"a":5}}`},
	{"v1", "ConfigMap", `{"data":{"a":null,"b":true}}`},
	{"v1", "ConfigMap", `{"immutable":1,"dta":{}}`},
}

func main() {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, appsv1.AddToScheme, autoscalingv1.AddToScheme, discoveryv1.AddToScheme, eventsv1.AddToScheme} {
		if err := add(scheme); err != nil {
			panic(err)
		}
	}
	var out struct {
		Objects  []object  `json:"objects"`
		Refusals []refusal `json:"refusals"`
	}
	for _, o := range objects() {
		text, err := json.Marshal(o)
		if err != nil {
			panic(err)
		}
		var pb bytes.Buffer
		if err := protobuf.NewSerializer(scheme, scheme).Encode(o, &pb); err != nil {
			panic(err)
		}
		out.Objects = append(out.Objects, object{text, base64.StdEncoding.EncodeToString(pb.Bytes())})
	}
	strict := serjson.NewSerializerWithOptions(serjson.DefaultMetaFactory, scheme, scheme, serjson.SerializerOptions{Strict: true})
	for _, b := range bodies {
		gv, _ := schema.ParseGroupVersion(b[0])
		gvk := gv.WithKind(b[1])
		text := ""
		if _, _, err := strict.Decode([]byte(b[2]), &gvk, nil); err != nil {
			text = err.Error()
		}
		out.Refusals = append(out.Refusals, refusal{gv.Group, gv.Version, b[1], b[2], text})
	}
	enc := json.NewEncoder(os.Stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(out); err != nil {
		panic(err)
	}
}
